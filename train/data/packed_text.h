#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/token.h"
#include "model/tokenizer/tokenizer.h"

namespace peerage::train {

// Documents as one row of tokens, an end-of-sequence token behind each (where the model has one)
// and a BOS before it (where the tokenizer adds one), cut into sequences of the same length. Text
// that looks like a special token is text. A sequence may hold the end of one document and the
// beginning of the next; what is left over behind the last whole sequence is not used.
class PackedText {
 public:
  // Reads `paths` (documents.h). Text for less than one sequence is an error.
  static absl::StatusOr<PackedText> Read(const Tokenizer& tokenizer,
                                         const std::vector<std::string>& paths,
                                         const std::string& text_key, int sequence_length);

  int64_t sequences() const { return static_cast<int64_t>(tokens_.size() - 1) / sequence_length_; }
  int64_t tokens() const { return static_cast<int64_t>(tokens_.size()); }

  // Of all sequences together.
  absl::Span<const TokenId> used() const {
    return absl::MakeConstSpan(tokens_).subspan(0, sequences() * sequence_length_ + 1);
  }

  // sequence_length + 1 tokens: those that are read, and with the last one those that follow.
  absl::Span<const TokenId> Sequence(int64_t index) const {
    return absl::MakeConstSpan(tokens_).subspan(index * sequence_length_, sequence_length_ + 1);
  }

 private:
  PackedText(std::vector<TokenId> tokens, int sequence_length)
      : tokens_(std::move(tokens)), sequence_length_(sequence_length) {}

  std::vector<TokenId> tokens_;
  int sequence_length_;
};

}  // namespace peerage::train
