#include <array>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "base/status_macros.h"
#include "base/strict_json.h"
#include "model/tokenizer/gguf_pre_tokenizer.h"
#include "model/tokenizer/tokenizer_conversion.h"
#include "model/tokenizer/tokenizer_definition.h"
#include "model/tokenizer/tokenizer_file.h"
#include "model/tokenizer/tokenizer_source.h"

namespace peerage {
namespace {

using nlohmann::json;

// One name of each kind of pre-tokenizer that has one.
constexpr std::array<absl::string_view, 3> kNames = {"smollm", "gpt-2", "llama-bpe"};

// Without what does not change how text is cut: trim_offsets is about offsets, and false and absent
// are the same.
json Essence(json pre_tokenizer) {
  if (pre_tokenizer.is_object()) {
    pre_tokenizer.erase("trim_offsets");
    if (pre_tokenizer.value("invert", true) == false) pre_tokenizer.erase("invert");
  }
  if (pre_tokenizer.is_structured()) {
    for (json& part : pre_tokenizer) part = Essence(std::move(part));
  }
  return pre_tokenizer;
}

absl::StatusOr<std::string> FindName(const json& pre_tokenizer, bool ignore_merges) {
  for (const absl::string_view name : kNames) {
    ASSIGN_OR_RETURN(const GgufPreTokenizer known, FindGgufPreTokenizer(name));
    if (known.ignore_merges == ignore_merges && Essence(known.json) == Essence(pre_tokenizer)) {
      return std::string(name);
    }
  }
  return absl::UnimplementedError(
      absl::StrCat("tokenizer.json: its pre_tokenizer has no name in tokenizer.ggml.pre that is "
                   "supported (",
                   absl::StrJoin(kNames, ", "), " have one)"));
}

absl::Status CheckAddedToken(const AddedToken& token) {
  if (!token.lstrip && !token.rstrip && !token.single_word) return absl::OkStatus();
  return absl::UnimplementedError(
      absl::StrCat("tokenizer.json: added token \"", token.content,
                   "\" has lstrip, rstrip or single_word, which a GGUF file cannot say"));
}

// Every id has a token in a GGUF file, if only a name for nothing.
absl::Status AddTokens(TokenizerDefinition& definition, GgufTokenizer& fields) {
  fields.tokens = std::move(definition.tokens);
  fields.token_types.assign(fields.tokens.size(), kNormalToken);
  for (const AddedToken& token : definition.added_tokens) {
    RETURN_IF_ERROR(CheckAddedToken(token));
    fields.tokens[token.id] = token.content;
    fields.token_types[token.id] = token.special ? kControlToken : kUserDefinedToken;
  }
  for (size_t id = 0; id < fields.tokens.size(); ++id) {
    if (!fields.tokens[id].empty()) continue;
    fields.tokens[id] = absl::StrCat("[PAD", id, "]");
    fields.token_types[id] = kUnusedToken;
  }
  return absl::OkStatus();
}

// A GGUF file has three kinds of ends, all of which end a generation.
absl::Status AddBeginAndEnds(const TokenOrigins& origins, GgufTokenizer& fields) {
  fields.bos_id = origins.bos_id();
  const std::vector<TokenId> ends = origins.eos_ids();
  std::optional<TokenId>* const places[] = {&fields.eos_id, &fields.eot_id, &fields.eom_id};
  if (ends.size() > std::size(places)) {
    return absl::UnimplementedError(absl::StrCat("eos_token_id has ", ends.size(),
                                                 " ids, of which a GGUF file can say ",
                                                 std::size(places)));
  }
  for (size_t i = 0; i < ends.size(); ++i) *places[i] = ends[i];
  return absl::OkStatus();
}

// The token that a key of tokenizer_config.json names, as a text or as an object with a text.
absl::StatusOr<std::optional<TokenId>> FindNamed(const TokenizerSource& source,
                                                 const GgufTokenizer& fields, const char* key) {
  if (source.hugging_face->tokenizer_config_json.empty()) return std::nullopt;
  ASSIGN_OR_RETURN(const json config, ParseStrictJson(source.hugging_face->tokenizer_config_json));
  json name = config.value(key, json());
  if (name.is_object()) name = name.value("content", json());
  for (size_t id = 0; name.is_string() && id < fields.tokens.size(); ++id) {
    if (fields.tokens[id] == name) return static_cast<TokenId>(id);
  }
  return std::nullopt;
}

}  // namespace

absl::StatusOr<GgufTokenizer> GgufFieldsOf(const TokenizerSource& source) {
  ASSIGN_OR_RETURN(TokenizerDefinition definition, DefineFromHuggingFace(source));
  ASSIGN_OR_RETURN(const TokenizerFile file,
                   ParseTokenizerFile(source.hugging_face->tokenizer_json));
  GgufTokenizer fields{.model = "gpt2"};
  ASSIGN_OR_RETURN(fields.pre, FindName(file.json["pre_tokenizer"], definition.ignore_merges));
  RETURN_IF_ERROR(AddTokens(definition, fields));
  for (const auto& [left, right] : definition.merges) {
    fields.merges.push_back(absl::StrCat(left, " ", right));
  }
  RETURN_IF_ERROR(AddBeginAndEnds(definition.origins, fields));
  ASSIGN_OR_RETURN(fields.unknown_id, FindNamed(source, fields, "unk_token"));
  ASSIGN_OR_RETURN(fields.padding_id, FindNamed(source, fields, "pad_token"));
  fields.add_bos = definition.add_bos;
  if (!definition.chat_template.empty()) fields.chat_template = definition.chat_template;
  return fields;
}

}  // namespace peerage
