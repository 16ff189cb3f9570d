#include "model/nn/step_batch.h"

#include <algorithm>

#include "model/kernels/rotary.h"

namespace peerage::nn {

using kernels::kAttentionTokens;
using kernels::kBlockTokens;

void StepBatch::Assign(absl::Span<const Chunk> chunks) {
  tokens_.clear();
  first_rows_.clear();
  items_.clear();
  for (const Chunk& chunk : chunks) {
    const int first_row = size();
    first_rows_.push_back(first_row);
    int32_t position = chunk.first_position;
    for (const TokenId id : chunk.tokens) {
      tokens_.push_back({id, position, chunk.blocks[position / kBlockTokens]});
      ++position;
    }
    AddAttentionItems(chunk, first_row);
  }
  // Threads claim items one by one: starting with the longest keeps the last ones short.
  std::sort(items_.begin(), items_.end(), [](const auto& a, const auto& b) {
    return int64_t{a.tokens} * (a.position + a.tokens) >
           int64_t{b.tokens} * (b.position + b.tokens);
  });
  angles_.resize(size_t(size()) * shape_.head_dim);
  for (int i = 0; i < size(); ++i) {
    float* angles = angles_.data() + size_t(i) * shape_.head_dim;
    kernels::RotaryAngles(tokens_[i].position, shape_.rope_theta, shape_.head_dim, angles,
                          angles + shape_.head_dim / 2);
  }
}

void StepBatch::AddAttentionItems(const Chunk& chunk, int first_row) {
  const int count = static_cast<int>(chunk.tokens.size());
  for (int i = 0; i < count; i += kAttentionTokens) {
    items_.push_back({.row = first_row + i,
                      .tokens = std::min(kAttentionTokens, count - i),
                      .position = chunk.first_position + i,
                      .blocks = chunk.blocks.data()});
  }
}

}  // namespace peerage::nn
