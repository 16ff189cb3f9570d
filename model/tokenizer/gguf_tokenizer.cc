#include <algorithm>

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
          absl::StrCat("tokenizer.ggml.token_type[", id, "] is ", type, ": not supported"));
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
  definition.bos_id = file.bos_id.has_value() ? file.bos_id : source.config_bos_id;
  definition.eos_ids = source.config_eos_ids;  // the ends of turns are among them
  if (file.eos_id.has_value() && std::find(definition.eos_ids.begin(), definition.eos_ids.end(),
                                           *file.eos_id) == definition.eos_ids.end()) {
    definition.eos_ids.push_back(*file.eos_id);
  }
  definition.add_bos = file.add_bos.value_or(false);
  definition.chat_template = file.chat_template.value_or("");
  return definition;
}

}  // namespace peerage
