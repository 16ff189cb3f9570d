#include "model/checkpoint/config/gguf_tokenizer_keys.h"

#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/status_macros.h"

namespace peerage {
namespace {

absl::StatusOr<std::string> RequiredString(const GgufMetadata& metadata, absl::string_view key) {
  ASSIGN_OR_RETURN(const std::string* value, metadata.String(key));
  if (value == nullptr) return absl::InvalidArgumentError(absl::StrCat(key, " is missing"));
  return *value;
}

absl::StatusOr<std::vector<std::string>> ReadTokens(GgufMetadata& metadata, int vocab_size) {
  constexpr absl::string_view kKey = "tokenizer.ggml.tokens";
  ASSIGN_OR_RETURN(std::optional<std::vector<std::string>> tokens, metadata.TakeStrings(kKey));
  if (!tokens.has_value()) return absl::InvalidArgumentError(absl::StrCat(kKey, " is missing"));
  if (tokens->size() > static_cast<size_t>(vocab_size)) {
    return absl::InvalidArgumentError(
        absl::StrCat(kKey, " has ", tokens->size(), " tokens, the vocabulary ", vocab_size));
  }
  return *std::move(tokens);
}

absl::StatusOr<std::vector<int32_t>> ReadTokenTypes(const GgufMetadata& metadata, size_t tokens) {
  constexpr absl::string_view kKey = "tokenizer.ggml.token_type";
  ASSIGN_OR_RETURN(const std::optional<std::vector<int64_t>> types, metadata.Integers(kKey));
  if (!types.has_value()) return std::vector<int32_t>();
  if (types->size() != tokens) {
    return absl::InvalidArgumentError(
        absl::StrCat(kKey, " has ", types->size(), " entries for ", tokens, " tokens"));
  }
  for (const int64_t type : *types) {
    if (type < 0 || type > std::numeric_limits<int32_t>::max()) {
      return absl::InvalidArgumentError(absl::StrCat(kKey, " holds the unknown type ", type));
    }
  }
  return std::vector<int32_t>(types->begin(), types->end());
}

absl::StatusOr<std::optional<TokenId>> ReadTokenId(const GgufMetadata& metadata,
                                                   absl::string_view key, size_t tokens) {
  ASSIGN_OR_RETURN(const std::optional<uint64_t> id, metadata.Integer(key));
  if (!id.has_value()) return std::nullopt;
  if (*id < tokens) return static_cast<TokenId>(*id);
  return absl::InvalidArgumentError(
      absl::StrCat(key, " is ", *id, ", but there are ", tokens, " tokens"));
}

}  // namespace

absl::StatusOr<GgufTokenizer> ReadGgufTokenizer(GgufMetadata metadata, int vocab_size) {
  GgufTokenizer tokenizer;
  ASSIGN_OR_RETURN(tokenizer.model, RequiredString(metadata, "tokenizer.ggml.model"));
  ASSIGN_OR_RETURN(tokenizer.pre, RequiredString(metadata, "tokenizer.ggml.pre"));
  ASSIGN_OR_RETURN(tokenizer.tokens, ReadTokens(metadata, vocab_size));
  const size_t tokens = tokenizer.tokens.size();
  ASSIGN_OR_RETURN(tokenizer.token_types, ReadTokenTypes(metadata, tokens));
  ASSIGN_OR_RETURN(std::optional<std::vector<std::string>> merges,
                   metadata.TakeStrings("tokenizer.ggml.merges"));
  if (!merges.has_value()) {
    return absl::InvalidArgumentError(
        "tokenizer.ggml.merges is missing: without merges texts would be cut into single bytes");
  }
  tokenizer.merges = *std::move(merges);
  ASSIGN_OR_RETURN(tokenizer.bos_id, ReadTokenId(metadata, "tokenizer.ggml.bos_token_id", tokens));
  ASSIGN_OR_RETURN(tokenizer.eos_id, ReadTokenId(metadata, "tokenizer.ggml.eos_token_id", tokens));
  ASSIGN_OR_RETURN(tokenizer.eot_id, ReadTokenId(metadata, "tokenizer.ggml.eot_token_id", tokens));
  ASSIGN_OR_RETURN(tokenizer.eom_id, ReadTokenId(metadata, "tokenizer.ggml.eom_token_id", tokens));
  ASSIGN_OR_RETURN(tokenizer.unknown_id,
                   ReadTokenId(metadata, "tokenizer.ggml.unknown_token_id", tokens));
  ASSIGN_OR_RETURN(tokenizer.padding_id,
                   ReadTokenId(metadata, "tokenizer.ggml.padding_token_id", tokens));
  ASSIGN_OR_RETURN(tokenizer.add_bos, metadata.Bool("tokenizer.ggml.add_bos_token"));
  ASSIGN_OR_RETURN(const std::string* chat_template, metadata.String("tokenizer.chat_template"));
  if (chat_template != nullptr) tokenizer.chat_template = *chat_template;
  return tokenizer;
}

}  // namespace peerage
