#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/token.h"
#include "model/tokenizer/added_tokens.h"
#include "model/tokenizer/byte_bpe.h"
#include "model/tokenizer/tokenizer_definition.h"

namespace peerage {

// The tokens of a definition, checked against each other: every written form has one id, and no
// byte or merge yields a special token (ordinary text could forge it).
//
// Threads: immutable after Create. Views into the definition, which outlives it.
class Vocabulary {
 public:
  static absl::StatusOr<Vocabulary> Create(const TokenizerDefinition& definition);

  absl::StatusOr<ByteBpe::Options> MakeBpe(const TokenizerDefinition& definition) const;

  // [vocab_size]: what each token stands for; an added token stands for its content.
  std::vector<std::string> Bytes() const;
  std::vector<bool> Special() const;

 private:
  absl::Status AddToken(absl::string_view written, TokenId id);
  absl::Status AddAddedToken(const AddedToken& token);
  absl::StatusOr<TokenId> OrdinaryId(absl::string_view written) const;

  std::vector<absl::string_view> written_;  // [vocab_size]
  std::vector<const AddedToken*> added_;    // [vocab_size]; null: ordinary
  absl::flat_hash_map<absl::string_view, TokenId> id_of_written_;
};

}  // namespace peerage
