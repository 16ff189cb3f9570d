#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "model/token.h"
#include "model/tokenizer/added_tokens.h"
#include "model/tokenizer/pre_tokenizer.h"
#include "model/tokenizer/token_origins.h"
#include "model/tokenizer/tokenizer_source.h"

namespace peerage {

// What both kinds of tokenizer file say, in one form.
struct TokenizerDefinition {
  std::vector<std::string> tokens;  // [vocab_size], in the byte alphabet; empty: no such token
  std::vector<std::pair<std::string, std::string>> merges;  // left and right, by rank
  std::optional<std::string> unknown;                       // the token for bytes that have none
  bool ignore_merges = false;  // a word that is a token is not taken apart
  std::vector<AddedToken> added_tokens;
  PreTokenizer pre_tokenizer;
  TokenOrigins origins;
  bool add_bos = false;
  std::string chat_template;  // Jinja; empty: none
};

// Both check what they read against source.vocab_size, and refuse what is not implemented by name.
// INVALID_ARGUMENT for a file that contradicts itself, UNIMPLEMENTED for one that asks for more.
absl::StatusOr<TokenizerDefinition> DefineFromGguf(const TokenizerSource& source);
absl::StatusOr<TokenizerDefinition> DefineFromHuggingFace(const TokenizerSource& source);

}  // namespace peerage
