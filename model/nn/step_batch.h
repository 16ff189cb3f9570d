#pragma once

#include <cstdint>
#include <vector>

#include "model/kernels/attention.h"
#include "model/language_model.h"

namespace peerage::nn {

// The tokens of one step laid out flat, chunk after chunk, with what attention needs to know of
// each. Reused from step to step: after the first steps nothing is allocated.
class StepBatch {
 public:
  struct Token {
    TokenId id = 0;
    int32_t position = 0;
    BlockId block = 0;  // the KV block that holds the position
  };

  struct Shape {
    int head_dim = 0;
    float rope_theta = 0;
  };
  explicit StepBatch(const Shape& shape) : shape_(shape) {}

  void Assign(absl::Span<const Chunk> chunks);

  int size() const { return static_cast<int>(tokens_.size()); }
  absl::Span<const Token> tokens() const { return tokens_; }

  // Flat index of a chunk's first token.
  int first_row(int chunk) const { return first_rows_[chunk]; }

  // Attention work for any one KV head, the longest items first.
  absl::Span<const kernels::AttentionItem> attention_items() const { return items_; }

  // Rotary angles of one token, [head_dim / 2].
  const float* cos(int token) const { return angles_.data() + size_t(token) * shape_.head_dim; }
  const float* sin(int token) const { return cos(token) + shape_.head_dim / 2; }

 private:
  void AddAttentionItems(const Chunk& chunk, int first_row);

  const Shape shape_;
  std::vector<Token> tokens_;
  std::vector<int> first_rows_;
  std::vector<kernels::AttentionItem> items_;
  std::vector<float> angles_;  // [tokens][2][head_dim / 2]
};

}  // namespace peerage::nn
