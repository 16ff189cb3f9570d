#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/tokenizer/gguf_pre_tokenizer.h"
#include "model/tokenizer/pre_tokenizer_json.h"
#include "model/tokenizer/tokenizer_definition.h"
#include "model/tokenizer/tokenizer_source.h"

namespace peerage {
namespace {

absl::Status ReadTokens(const GgufTokenizer& file, size_t vocab_size,
                        TokenizerDefinition& definition) {
  if (file.tokens.size() > vocab_size) {
    return absl::InvalidArgumentError(absl::StrCat("tokenizer.ggml.tokens has ", file.tokens.size(),
                                                   " entries, the model only ", vocab_size));
  }
  if (!file.token_types.empty() && file.token_types.size() != file.tokens.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("tokenizer.ggml.token_type has ", file.token_types.size(),
                     " entries, tokenizer.ggml.tokens ", file.tokens.size()));
  }
  definition.tokens = file.tokens;
  definition.tokens.resize(vocab_size);
  for (size_t id = 0; id < file.token_types.size(); ++id) {
    const int type = file.token_types[id];
    if (type < kNormalToken || type > kUnusedToken) {
      return absl::UnimplementedError(
          absl::StrCat("tokenizer.ggml.token_type[", id, "] is ", type,
                       ", which is not supported (1 normal, 2 unknown, 3 control, 4 user defined "
                       "and 5 unused are)"));
    }
    if (type == kNormalToken || type == kUnusedToken) continue;
    definition.added_tokens.push_back({.id = static_cast<TokenId>(id),
                                       .content = file.tokens[id],
                                       .special = type != kUserDefinedToken});
  }
  return absl::OkStatus();
}

absl::Status ReadMerges(const GgufTokenizer& file, TokenizerDefinition& definition) {
  definition.merges.reserve(file.merges.size());
  for (size_t rank = 0; rank < file.merges.size(); ++rank) {
    const std::string& merge = file.merges[rank];
    const size_t space = merge.find(' ');
    if (space == std::string::npos || merge.find(' ', space + 1) != std::string::npos) {
      return absl::InvalidArgumentError(
          absl::StrCat("tokenizer.ggml.merges[", rank, "] is not two tokens: \"", merge, "\""));
    }
    definition.merges.emplace_back(merge.substr(0, space), merge.substr(space + 1));
  }
  return absl::OkStatus();
}

void ReadOrigins(const GgufTokenizer& file, TokenOrigins& origins) {
  const auto add = [](std::optional<TokenId> id, const char* key, std::vector<TokenMention>& to) {
    if (id.has_value()) to.push_back({*id, key});
  };
  add(file.bos_id, "tokenizer.ggml.bos_token_id", origins.bos);
  add(file.eos_id, "tokenizer.ggml.eos_token_id", origins.eos);
  add(file.eot_id, "tokenizer.ggml.eot_token_id", origins.eos);
  add(file.eom_id, "tokenizer.ggml.eom_token_id", origins.eos);
}

// By default only a BOS that the file names is added: there may be none.
void ReadAddBos(const GgufTokenizer& file, const GgufPreTokenizer& pre_tokenizer,
                TokenizerDefinition& definition) {
  definition.add_bos = file.add_bos.value_or(pre_tokenizer.add_bos && file.bos_id.has_value());
  if (file.add_bos.has_value()) {
    definition.origins.add_bos = "tokenizer.ggml.add_bos_token";
  } else if (definition.add_bos) {
    definition.origins.add_bos = absl::StrCat("the default of tokenizer.ggml.pre ", file.pre);
  }
}

}  // namespace

absl::StatusOr<TokenizerDefinition> DefineFromGguf(const TokenizerSource& source) {
  const GgufTokenizer& file = *source.gguf;
  if (file.model != "gpt2") {
    return absl::UnimplementedError(
        absl::StrCat("tokenizer.ggml.model \"", file.model, "\" is not supported (only gpt2 is)"));
  }
  TokenizerDefinition definition;
  ASSIGN_OR_RETURN(const GgufPreTokenizer pre_tokenizer, FindGgufPreTokenizer(file.pre));
  ASSIGN_OR_RETURN(definition.pre_tokenizer, ReadPreTokenizer(pre_tokenizer.json));
  definition.ignore_merges = pre_tokenizer.ignore_merges;
  RETURN_IF_ERROR(ReadTokens(file, source.vocab_size, definition));
  RETURN_IF_ERROR(ReadMerges(file, definition));
  ReadOrigins(file, definition.origins);
  RETURN_IF_ERROR(definition.origins.Check(source.vocab_size));
  ReadAddBos(file, pre_tokenizer, definition);
  definition.chat_template = file.chat_template.value_or("");
  return definition;
}

}  // namespace peerage
