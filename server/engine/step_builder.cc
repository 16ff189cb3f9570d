#include "server/engine/step_builder.h"

namespace peerage {

void StepBuilder::Clear() {
  chunks_.clear();
  first_row_.clear();
  first_token_.clear();
  num_tokens_ = 0;
  rows_.clear();
}

void StepBuilder::AddChunk(const Chunk& chunk) {
  first_row_.push_back(static_cast<int32_t>(rows_.size()));
  first_token_.push_back(num_tokens_);
  num_tokens_ += static_cast<int32_t>(chunk.tokens.size());
  chunks_.push_back(chunk);
}

void StepBuilder::Sample(int32_t row, int32_t alternatives) {
  rows_.push_back({.chunk = static_cast<int32_t>(chunks_.size()) - 1,
                   .row = row,
                   .sample = true,
                   .alternatives = alternatives});
}

void StepBuilder::Score(int32_t row, absl::Span<const TokenId> targets, int32_t alternatives) {
  rows_.push_back({.chunk = static_cast<int32_t>(chunks_.size()) - 1,
                   .row = row,
                   .targets = targets,
                   .alternatives = alternatives});
}

StepInput StepBuilder::Input(absl::Span<const BlockCopy> copies) const {
  return {.copies = copies, .chunks = chunks_, .rows = rows_};
}

ChunkResult StepBuilder::ResultOf(int32_t chunk, const StepOutput& output) const {
  const size_t first = first_row_[chunk];
  const bool last_chunk = chunk + 1 == static_cast<int32_t>(chunks_.size());
  const size_t count = (last_chunk ? rows_.size() : first_row_[chunk + 1]) - first;
  return {.first_position = chunks_[chunk].first_position,
          .num_tokens = static_cast<int32_t>(chunks_[chunk].tokens.size()),
          .rows = absl::MakeSpan(rows_).subspan(first, count),
          .outputs = output.rows.subspan(first, count),
          .picks = output.picks,
          .first_token = first_token_[chunk]};
}

}  // namespace peerage
