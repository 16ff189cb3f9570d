#include "server/engine/step_builder.h"

namespace peerage {

void StepBuilder::Clear() {
  chunks_.clear();
  firsts_.clear();
  num_tokens_ = 0;
  rows_.clear();
  hidden_rows_.clear();
}

void StepBuilder::AddChunk(const Chunk& chunk) {
  firsts_.push_back({rows_.size(), hidden_rows_.size(), num_tokens_});
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

void StepBuilder::Report(int32_t row, int32_t layer) {
  hidden_rows_.push_back(
      {.chunk = static_cast<int32_t>(chunks_.size()) - 1, .row = row, .layer = layer});
}

StepInput StepBuilder::Input(absl::Span<const BlockCopy> copies) const {
  return {.copies = copies, .chunks = chunks_, .rows = rows_, .hidden_rows = hidden_rows_};
}

ChunkResult StepBuilder::ResultOf(int32_t chunk, const StepOutput& output) const {
  const Firsts& first = firsts_[chunk];
  const bool is_last = chunk + 1 == static_cast<int32_t>(chunks_.size());
  const size_t rows = (is_last ? rows_.size() : firsts_[chunk + 1].row) - first.row;
  const size_t hidden =
      (is_last ? hidden_rows_.size() : firsts_[chunk + 1].hidden_row) - first.hidden_row;
  return {.first_position = chunks_[chunk].first_position,
          .num_tokens = static_cast<int32_t>(chunks_[chunk].tokens.size()),
          .rows = absl::MakeSpan(rows_).subspan(first.row, rows),
          .outputs = output.rows.subspan(first.row, rows),
          .hidden_rows = absl::MakeSpan(hidden_rows_).subspan(first.hidden_row, hidden),
          .hidden = output.hidden.subspan(first.hidden_row, hidden),
          .picks = output.picks,
          .first_token = first.token};
}

}  // namespace peerage
