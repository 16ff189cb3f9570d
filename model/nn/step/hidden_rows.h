#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "model/language_model.h"
#include "model/nn/step/step_batch.h"

namespace peerage::nn {

// Where the hidden states that a step reports lie, on the host: a device fills them in layer by
// layer, callers read them as StepOutput::hidden. Those of one layer lie one behind the other.
//
// Threads: none, but that values may be filled in by several.
class HiddenRows {
 public:
  // `width`: values of a row.
  explicit HiddenRows(int width) : width_(width) {}

  // Makes room for what the input asks for. After the first steps nothing is allocated.
  void Assign(const StepInput& input, const StepBatch& batch);

  int width() const { return width_; }
  bool empty() const { return tokens_.empty(); }

  // For all rows, layer after layer: the index into the batch's tokens, and the values.
  absl::Span<const int32_t> tokens() const { return tokens_; }
  absl::Span<float> values() { return absl::MakeSpan(values_); }  // [rows][width]

  // The rows of a layer are those from `first` to before `end`.
  struct Range {
    int first = 0;
    int end = 0;
  };
  Range RowsOf(int layer) const;

  // Parallel to the input's rows. The spans stay valid until the next Assign.
  absl::Span<const absl::Span<const float>> Output();

 private:
  const int width_;
  std::vector<int32_t> tokens_;
  std::vector<float> values_;
  std::vector<int> layer_starts_;  // by layer, up to the last one of which something is wanted
  std::vector<int> places_;        // by row of the input
  std::vector<absl::Span<const float>> output_;
};

}  // namespace peerage::nn
