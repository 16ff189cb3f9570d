#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/error_text.h"
#include "base/json_object.h"
#include "base/status_macros.h"
#include "base/strict_json.h"
#include "model/tokenizer/pre_tokenizer_json.h"
#include "model/tokenizer/tokenizer_definition.h"
#include "model/tokenizer/tokenizer_file.h"

namespace peerage {

using nlohmann::json;

namespace {

constexpr char kTokenizerName[] = "tokenizer.json";
constexpr char kConfigName[] = "tokenizer_config.json";
constexpr char kGenerationName[] = "generation_config.json";

// The part of a file, as an object; null when it is absent or null.
absl::StatusOr<const json*> OptionalObject(const json& file, const char* key) {
  const auto found = file.find(key);
  if (found == file.end() || found->is_null()) return nullptr;
  if (!found->is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(key, " is not an object"));
  }
  return &*found;
}

// A part of which only "nothing" and some types are implemented.
absl::StatusOr<const json*> PartOfType(const json& file, const char* key,
                                       std::initializer_list<absl::string_view> types) {
  ASSIGN_OR_RETURN(const json* part, OptionalObject(file, key));
  if (part == nullptr) return nullptr;
  ASSIGN_OR_RETURN(const std::string type, JsonObject(*part, key).Optional("type", std::string()));
  if (std::find(types.begin(), types.end(), type) == types.end()) {
    return absl::UnimplementedError(absl::StrCat(key, " \"", type, "\" is not supported"));
  }
  return part;
}

// Options of the model whose only supported value changes nothing.
absl::Status CheckNeutral(JsonObject& model) {
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    ASSIGN_OR_RETURN(const std::string affix, model.Optional(key, std::string()));
    if (!affix.empty()) {
      return absl::UnimplementedError(absl::StrCat("model.", key, " is not supported"));
    }
  }
  for (const char* key : {"byte_fallback", "fuse_unk"}) {
    ASSIGN_OR_RETURN(const bool on, model.Optional(key, false));
    if (on) return absl::UnimplementedError(absl::StrCat("model.", key, " is not supported"));
  }
  const json* dropout = model.Find("dropout");
  if (dropout != nullptr && *dropout != 0.0) {
    return absl::UnimplementedError("model.dropout is not supported");
  }
  return absl::OkStatus();
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
    return absl::UnimplementedError(absl::StrCat("model \"", type, "\" is not supported"));
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

// The special token that a TemplateProcessing puts before a text; "" when none.
absl::StatusOr<std::string> TokenBeforeText(const json& processor) {
  ASSIGN_OR_RETURN(const std::string type,
                   JsonObject(processor, "post_processor").Optional("type", std::string()));
  if (type == "Sequence") {
    std::string before;
    const auto parts = processor.find("processors");
    if (parts == processor.end() || !parts->is_array()) {
      return absl::InvalidArgumentError("post_processor Sequence has no list of processors");
    }
    for (const json& part : *parts) {
      if (!part.is_object()) return absl::InvalidArgumentError("a post_processor is no object");
      ASSIGN_OR_RETURN(const std::string token, TokenBeforeText(part));
      if (before.empty()) before = token;
    }
    return before;
  }
  if (type == "ByteLevel") return std::string();
  if (type != "TemplateProcessing") {
    return absl::UnimplementedError(absl::StrCat("post_processor \"", type, "\" is not supported"));
  }
  const json first = processor.value(json::json_pointer("/single/0/SpecialToken/id"), json());
  return first.is_string() ? first.get<std::string>() : std::string();
}

// The id of a token named in tokenizer_config.json or in the post-processor.
absl::StatusOr<std::optional<TokenId>> IdOf(const TokenizerDefinition& definition,
                                            const std::string& content) {
  if (content.empty()) return std::nullopt;
  for (const AddedToken& token : definition.added_tokens) {
    if (token.content == content) return token.id;
  }
  const auto found = std::find(definition.tokens.begin(), definition.tokens.end(), content);
  if (found == definition.tokens.end()) {
    return absl::InvalidArgumentError(absl::StrCat("token \"", content, "\" does not exist"));
  }
  return static_cast<TokenId>(found - definition.tokens.begin());
}

// A token of tokenizer_config.json: its text, or an object with it.
absl::StatusOr<std::string> NamedToken(const json& config, const char* key) {
  JsonObject fields(config, kConfigName);
  const json* found = fields.Find(key);
  if (found != nullptr && found->is_object()) {
    return JsonObject(*found, key).Optional("content", std::string());
  }
  return fields.Optional(key, std::string());
}

// The id of the token that a key of tokenizer_config.json names, if it names one.
absl::StatusOr<std::optional<TokenId>> IdOfNamed(const TokenizerDefinition& definition,
                                                 const json& config, const char* key) {
  ASSIGN_OR_RETURN(const std::string content, NamedToken(config, key));
  return IdOf(definition, content);
}

// A number or a list of numbers; empty when absent or null.
absl::StatusOr<std::vector<TokenId>> ReadIds(const json& config, const char* key) {
  const json ids = config.value(key, json());
  std::vector<TokenId> result;
  if (ids.is_null()) return result;
  for (const json& id : ids.is_array() ? ids : json::array({ids})) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > UINT32_MAX) {
      return absl::InvalidArgumentError(absl::StrCat("\"", key, "\" is not a list of token ids"));
    }
    result.push_back(id.get<TokenId>());
  }
  return result;
}

absl::StatusOr<json> ParseOptionalFile(const std::string& text, absl::string_view file) {
  if (text.empty()) return json::object();
  return ObjectOfFile(file, ParseStrictJson(text));
}

// The BOS that the post-processor puts before a text; "" when none.
absl::StatusOr<std::string> ProcessorBos(const json& file) {
  ASSIGN_OR_RETURN(const json* processor, OptionalObject(file, "post_processor"));
  if (processor == nullptr) return std::string();
  return TokenBeforeText(*processor);
}

absl::Status ReadBos(const TokenizerSource& source, const std::string& processor_bos,
                     const json& config, TokenizerDefinition& definition) {
  ASSIGN_OR_RETURN(
      definition.add_bos,
      At(kConfigName,
         JsonObject(config, kConfigName).Optional("add_bos_token", !processor_bos.empty())));
  ASSIGN_OR_RETURN(definition.bos_id, At(kConfigName, IdOfNamed(definition, config, "bos_token")));
  if (!definition.bos_id.has_value()) definition.bos_id = source.config_bos_id;
  if (definition.bos_id.has_value()) return absl::OkStatus();
  ASSIGN_OR_RETURN(definition.bos_id, At(kTokenizerName, IdOf(definition, processor_bos)));
  return absl::OkStatus();
}

absl::Status ReadEos(const TokenizerSource& source, const json& config,
                     TokenizerDefinition& definition) {
  ASSIGN_OR_RETURN(const json generation,
                   ParseOptionalFile(source.hugging_face->generation_config_json, kGenerationName));
  ASSIGN_OR_RETURN(definition.eos_ids, At(kGenerationName, ReadIds(generation, "eos_token_id")));
  if (definition.eos_ids.empty()) definition.eos_ids = source.config_eos_ids;
  if (!definition.eos_ids.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::optional<TokenId> eos,
                   At(kConfigName, IdOfNamed(definition, config, "eos_token")));
  if (eos.has_value()) definition.eos_ids = {*eos};
  return absl::OkStatus();
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
  RETURN_IF_ERROR(JsonObject(file, kTokenizerName)
                      .CheckKeys({"version", "truncation", "padding", "added_tokens", "normalizer",
                                  "pre_tokenizer", "post_processor", "decoder", "model"}));
  RETURN_IF_ERROR(PartOfType(file, "normalizer", {}).status());
  RETURN_IF_ERROR(PartOfType(file, "decoder", {"ByteLevel"}).status());
  RETURN_IF_ERROR(ReadModel(parsed, vocab_size, definition));
  RETURN_IF_ERROR(ReadAddedTokens(file, definition));
  ASSIGN_OR_RETURN(const json* pre_tokenizer, OptionalObject(file, "pre_tokenizer"));
  if (pre_tokenizer == nullptr) {
    return absl::UnimplementedError("a file without a pre_tokenizer is not supported");
  }
  ASSIGN_OR_RETURN(definition.pre_tokenizer, ReadPreTokenizer(*pre_tokenizer));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TokenizerDefinition> DefineFromHuggingFace(const TokenizerSource& source) {
  const HuggingFaceTokenizer& files = *source.hugging_face;
  ASSIGN_OR_RETURN(TokenizerFile parsed, ParseTokenizerFile(files.tokenizer_json));
  ASSIGN_OR_RETURN(const json config, ParseOptionalFile(files.tokenizer_config_json, kConfigName));
  TokenizerDefinition definition;
  RETURN_IF_ERROR(At(kTokenizerName, ReadTokenizerFile(parsed, source.vocab_size, definition)));
  ASSIGN_OR_RETURN(const std::string processor_bos, At(kTokenizerName, ProcessorBos(parsed.json)));
  RETURN_IF_ERROR(ReadBos(source, processor_bos, config, definition));
  RETURN_IF_ERROR(ReadEos(source, config, definition));
  definition.chat_template = FindChatTemplate(files, config);
  return definition;
}

}  // namespace peerage
