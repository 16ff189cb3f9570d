#pragma once

#include <cstdint>
#include <vector>

#include "model/language_model.h"

namespace peerage::nn {

// The tokens of one step laid out flat, chunk after chunk: what every device starts from. Reused
// from step to step: after the first steps nothing is allocated.
class StepBatch {
 public:
  struct Token {
    TokenId id = 0;
    int32_t position = 0;
    BlockId block = 0;  // the KV block that holds the position
  };

  // `block_tokens`: positions of one KV block.
  explicit StepBatch(int block_tokens) : block_tokens_(block_tokens) {}

  // The input's spans stay in use until the next call.
  void Assign(const StepInput& input);

  int size() const { return static_cast<int>(tokens_.size()); }
  absl::Span<const Token> tokens() const { return tokens_; }
  absl::Span<const Chunk> chunks() const { return chunks_; }
  absl::Span<const BlockCopy> copies() const { return copies_; }

  // Index into tokens() of a chunk's first token.
  int first_token(int chunk) const { return first_tokens_[chunk]; }

 private:
  const int block_tokens_;
  std::vector<Token> tokens_;
  std::vector<int> first_tokens_;  // by chunk
  absl::Span<const Chunk> chunks_;
  absl::Span<const BlockCopy> copies_;
};

}  // namespace peerage::nn
