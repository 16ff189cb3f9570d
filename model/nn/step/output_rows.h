#pragma once

#include <cstddef>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "model/language_model.h"
#include "model/nn/step/step_batch.h"

namespace peerage::nn {

// Where the results of a step's output rows lie, on the host: a device fills them in, callers read
// them as a StepOutput. A row whose logits hold no distribution fails its chunk, and that alone.
//
// Threads: rows may be filled and failed by several threads at once, each by one of them.
class OutputRows {
 public:
  // The most alternatives that a row may ask for (OutputRow::alternatives).
  static constexpr int kMaxAlternatives = 20;

  explicit OutputRows(int vocab_size) : vocab_size_(vocab_size) {}

  // Makes room for what the rows ask for. The input's spans stay in use until the next call, and
  // after the first steps nothing is allocated.
  void Assign(const StepInput& input, const StepBatch& batch);

  int size() const { return static_cast<int>(wanted_.size()); }
  const OutputRow& wanted(int row) const { return wanted_[row]; }
  int token(int row) const { return places_[row].token; }  // index into the batch's tokens
  SlotId slot(int row) const { return chunks_[wanted_[row].chunk].slot; }

  // One entry for the sampled token, or one for each target.
  absl::Span<TokenScore> scores(int row);
  absl::Span<TokenAlternative> alternatives(int row);
  void Fail(int row) { places_[row].failed = true; }

  // The spans stay valid until the next Assign.
  StepOutput Output();

 private:
  // Where a row's results lie in scores_ and alternatives_.
  struct Place {
    int token = 0;
    size_t first_score = 0, scores = 0;
    size_t first_alternative = 0, alternatives = 0;
    bool failed = false;
  };

  const int vocab_size_;
  absl::Span<const Chunk> chunks_;
  absl::Span<const OutputRow> wanted_;
  std::vector<Place> places_;  // by row
  std::vector<TokenScore> scores_;
  std::vector<TokenAlternative> alternatives_;
  std::vector<RowOutput> rows_;
  std::vector<absl::Status> statuses_;
};

}  // namespace peerage::nn
