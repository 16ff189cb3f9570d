#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "model/language_model.h"

namespace peerage {

// What a step reported of one chunk.
struct ChunkResult {
  int32_t first_position = 0;
  int32_t num_tokens = 0;
  // outputs[i] answers rows[i].
  absl::Span<const OutputRow> rows;
  absl::Span<const RowOutput> outputs;
  // hidden[i] answers hidden_rows[i].
  absl::Span<const HiddenRow> hidden_rows;
  absl::Span<const absl::Span<const float>> hidden;
  // By expert layer, of the whole step: the chunk's tokens are those from `first_token` on.
  absl::Span<const ExpertPicks> picks;
  int32_t first_token = 0;

  // What `count` of the chunk's tokens picked, from its `first` on. Precondition: the picks are
  // there.
  ExpertPicks PicksOf(size_t expert_layer, size_t picks_per_token, int32_t first,
                      int32_t count) const {
    const size_t begin = (first_token + first) * picks_per_token, size = count * picks_per_token;
    const ExpertPicks& step = picks[expert_layer];
    return {.ids = step.ids.subspan(begin, size), .weights = step.weights.subspan(begin, size)};
  }
};

// Gathers the input of a step, and finds each chunk's part of the output. Reused from step to step,
// so that a steady state allocates nothing.
//
// Threads: none. What the spans point to must live until the step is done.
class StepBuilder {
 public:
  void Clear();
  void AddChunk(const Chunk& chunk);

  // Rows of the chunk that was added last. `row` is an index into its tokens.
  void Sample(int32_t row, int32_t alternatives);
  void Score(int32_t row, absl::Span<const TokenId> targets, int32_t alternatives);
  // The hidden state of that token behind a layer (HiddenRow).
  void Report(int32_t row, int32_t layer);

  // `copies` belongs to the caller.
  StepInput Input(absl::Span<const BlockCopy> copies) const;

  ChunkResult ResultOf(int32_t chunk, const StepOutput& output) const;

 private:
  // What of the others belongs to a chunk begins here.
  struct Firsts {
    size_t row = 0;
    size_t hidden_row = 0;
    int32_t token = 0;
  };

  std::vector<Chunk> chunks_;
  std::vector<Firsts> firsts_;  // [chunks]
  int32_t num_tokens_ = 0;
  std::vector<OutputRow> rows_;
  std::vector<HiddenRow> hidden_rows_;
};

}  // namespace peerage
