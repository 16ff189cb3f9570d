#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/error_text.h"
#include "base/json_object.h"
#include "base/status_macros.h"
#include "base/strict_json.h"
#include "model/tokenizer/pre_tokenizer_json.h"
#include "model/tokenizer/special_tokens_json.h"
#include "model/tokenizer/tokenizer_definition.h"
#include "model/tokenizer/tokenizer_file.h"
#include "model/tokenizer/tokenizer_file_names.h"

namespace peerage {

using nlohmann::json;

namespace {

// The part of a file, as an object; null when it is absent or null.
absl::StatusOr<const json*> OptionalObject(const json& file, const char* key) {
  const auto found = file.find(key);
  if (found == file.end() || found->is_null()) return nullptr;
  if (!found->is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(key, " is not an object"));
  }
  return &*found;
}

// The types of a part: those of a Sequence's entries in its place, so that an empty one is no part.
absl::Status CollectTypes(const json& part, const char* key, const char* entries,
                          std::vector<std::string>& types) {
  if (!part.is_object()) return absl::InvalidArgumentError(absl::StrCat(key, " is not an object"));
  ASSIGN_OR_RETURN(std::string type, JsonObject(part, key).Optional("type", std::string()));
  if (type != "Sequence") {
    types.push_back(std::move(type));
    return absl::OkStatus();
  }
  const auto list = part.find(entries);
  if (list == part.end() || !list->is_array()) {
    return absl::InvalidArgumentError(absl::StrCat(key, " Sequence has no list of ", entries));
  }
  for (const json& entry : *list) RETURN_IF_ERROR(CollectTypes(entry, key, entries, types));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> TypesOf(const json& file, const char* key,
                                                 const char* entries) {
  std::vector<std::string> types;
  ASSIGN_OR_RETURN(const json* part, OptionalObject(file, key));
  if (part != nullptr) RETURN_IF_ERROR(CollectTypes(*part, key, entries, types));
  return types;
}

absl::Status CheckNormalizer(const json& file) {
  ASSIGN_OR_RETURN(const std::vector<std::string> types,
                   TypesOf(file, "normalizer", "normalizers"));
  if (types.empty()) return absl::OkStatus();
  return absl::UnimplementedError(
      absl::StrCat("normalizer ", Quoted(types.front()), " is not supported (an empty one is)"));
}

// Tokens give back their bytes, which is what ByteLevel does.
absl::Status CheckDecoder(const json& file) {
  ASSIGN_OR_RETURN(const std::vector<std::string> types, TypesOf(file, "decoder", "decoders"));
  for (const std::string& type : types) {
    if (type == "ByteLevel") continue;
    return absl::UnimplementedError(
        absl::StrCat("decoder ", Quoted(type), " is not supported (ByteLevel is)"));
  }
  if (types.size() < 2) return absl::OkStatus();
  return absl::UnimplementedError(
      absl::StrCat("decoder has ", types.size(), " times ByteLevel, and once is supported"));
}

absl::Status UnsupportedOfModel(absl::string_view key, const std::string& value,
                                absl::string_view supported) {
  return absl::UnimplementedError(
      absl::StrCat("model.", key, " ", value, " is not supported (only ", supported, " is)"));
}

// Options of the model whose only supported value changes nothing.
absl::Status CheckNeutral(JsonObject& model) {
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    ASSIGN_OR_RETURN(const std::string affix, model.Optional(key, std::string()));
    if (!affix.empty()) return UnsupportedOfModel(key, Quoted(affix), "none");
  }
  for (const char* key : {"byte_fallback", "fuse_unk"}) {
    ASSIGN_OR_RETURN(const bool on, model.Optional(key, false));
    if (on) return UnsupportedOfModel(key, "true", "false");
  }
  const json* dropout = model.Find("dropout");
  if (dropout == nullptr || *dropout == 0.0) return absl::OkStatus();
  return UnsupportedOfModel("dropout", dropout->dump(), "0");
}

absl::Status ReadVocabulary(TokenizerFile& file, size_t vocab_size,
                            TokenizerDefinition& definition) {
  definition.tokens.resize(vocab_size);
  for (auto& [token, id] : file.vocab) {
    if (id >= vocab_size) {
      return absl::InvalidArgumentError(absl::StrCat("model.vocab: the id of \"", token, "\" is ",
                                                     id, ", not below ", vocab_size));
    }
    std::string& written = definition.tokens[id];
    if (!written.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("model.vocab: \"", written, "\" and \"", token, "\" have the same id"));
    }
    written = std::move(token);
  }
  return absl::OkStatus();
}

absl::Status ReadModel(TokenizerFile& file, size_t vocab_size, TokenizerDefinition& definition) {
  ASSIGN_OR_RETURN(const json* found, OptionalObject(file.json, "model"));
  if (found == nullptr) return absl::InvalidArgumentError("no model");
  JsonObject model(*found, "model");
  RETURN_IF_ERROR(model.CheckKeys({"type", "vocab", "merges", "dropout", "unk_token",
                                   "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk",
                                   "byte_fallback", "ignore_merges"}));
  // Early files leave the type out.
  ASSIGN_OR_RETURN(const std::string type, model.Optional("type", std::string("BPE")));
  if (type != "BPE") {
    return absl::UnimplementedError(
        absl::StrCat("model ", Quoted(type), " is not supported (BPE over bytes is)"));
  }
  const json* vocab = model.Find("vocab");
  if (vocab == nullptr || !vocab->is_object()) {
    return absl::InvalidArgumentError("model.vocab is not an object");
  }
  const json* merges = model.Find("merges");
  if (merges == nullptr || !merges->is_array()) {
    return absl::InvalidArgumentError("model.merges is not a list");
  }
  RETURN_IF_ERROR(CheckNeutral(model));
  RETURN_IF_ERROR(ReadVocabulary(file, vocab_size, definition));
  definition.merges = std::move(file.merges);
  ASSIGN_OR_RETURN(definition.ignore_merges, model.Optional("ignore_merges", false));
  ASSIGN_OR_RETURN(std::string unknown, model.Optional("unk_token", std::string()));
  if (!unknown.empty()) definition.unknown = std::move(unknown);
  return absl::OkStatus();
}

absl::StatusOr<AddedToken> ReadAddedToken(const json& json) {
  if (!json.is_object() || !json.contains("id") || !json.contains("content")) {
    return absl::InvalidArgumentError("an entry of added_tokens has no id or no content");
  }
  JsonObject entry(json, "added_tokens");
  RETURN_IF_ERROR(entry.CheckKeys(
      {"id", "content", "special", "single_word", "lstrip", "rstrip", "normalized"}));
  AddedToken token;
  ASSIGN_OR_RETURN(token.id, entry.Optional<uint32_t>("id", 0));
  ASSIGN_OR_RETURN(token.content, entry.Optional("content", std::string()));
  ASSIGN_OR_RETURN(token.special, entry.Optional("special", false));
  ASSIGN_OR_RETURN(token.single_word, entry.Optional("single_word", false));
  ASSIGN_OR_RETURN(token.lstrip, entry.Optional("lstrip", false));
  ASSIGN_OR_RETURN(token.rstrip, entry.Optional("rstrip", false));
  ASSIGN_OR_RETURN(token.normalized, entry.Optional("normalized", !token.special));
  return token;
}

absl::Status ReadAddedTokens(const json& file, TokenizerDefinition& definition) {
  const auto tokens = file.find("added_tokens");
  if (tokens == file.end() || tokens->is_null()) return absl::OkStatus();
  if (!tokens->is_array()) return absl::InvalidArgumentError("added_tokens is not a list");
  for (const json& json : *tokens) {
    ASSIGN_OR_RETURN(AddedToken token, ReadAddedToken(json));
    definition.added_tokens.push_back(std::move(token));
  }
  return absl::OkStatus();
}

absl::StatusOr<json> ParseOptionalFile(const std::string& text, absl::string_view file) {
  if (text.empty()) return json::object();
  return ObjectOfFile(file, ParseStrictJson(text));
}

// chat_template.jinja, else tokenizer_config.json's template: one, or a list with a "default".
std::string FindChatTemplate(const HuggingFaceTokenizer& files, const json& config) {
  if (!files.chat_template.empty()) return files.chat_template;
  const json found = config.value("chat_template", json());
  if (found.is_string()) return found.get<std::string>();
  if (!found.is_array()) return "";
  for (const json& named : found) {
    if (!named.is_object() || named.value("name", json()) != "default") continue;
    const json text = named.value("template", json());
    if (text.is_string()) return text.get<std::string>();
  }
  return "";
}

// All of tokenizer.json but its post-processor.
absl::Status ReadTokenizerFile(TokenizerFile& parsed, size_t vocab_size,
                               TokenizerDefinition& definition) {
  const json& file = parsed.json;
  RETURN_IF_ERROR(JsonObject(file, kTokenizerJsonName)
                      .CheckKeys({"version", "truncation", "padding", "added_tokens", "normalizer",
                                  "pre_tokenizer", "post_processor", "decoder", "model"}));
  RETURN_IF_ERROR(CheckNormalizer(file));
  RETURN_IF_ERROR(CheckDecoder(file));
  RETURN_IF_ERROR(ReadModel(parsed, vocab_size, definition));
  RETURN_IF_ERROR(ReadAddedTokens(file, definition));
  ASSIGN_OR_RETURN(const json* pre_tokenizer, OptionalObject(file, "pre_tokenizer"));
  if (pre_tokenizer == nullptr) {
    return absl::UnimplementedError(
        "a file without a pre_tokenizer is not supported (one with ByteLevel is)");
  }
  ASSIGN_OR_RETURN(definition.pre_tokenizer, ReadPreTokenizer(*pre_tokenizer));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TokenizerDefinition> DefineFromHuggingFace(const TokenizerSource& source) {
  const HuggingFaceTokenizer& files = *source.hugging_face;
  ASSIGN_OR_RETURN(TokenizerFile parsed, ParseTokenizerFile(files.tokenizer_json));
  ASSIGN_OR_RETURN(const json config,
                   ParseOptionalFile(files.tokenizer_config_json, kTokenizerConfigName));
  TokenizerDefinition definition;
  RETURN_IF_ERROR(At(kTokenizerJsonName, ReadTokenizerFile(parsed, source.vocab_size, definition)));
  RETURN_IF_ERROR(ReadSpecialTokens(source, parsed.json, config, definition));
  RETURN_IF_ERROR(definition.origins.Check(source.vocab_size));
  definition.chat_template = FindChatTemplate(files, config);
  return definition;
}

}  // namespace peerage
