#include "model/nn/step/hidden_rows.h"

#include <numeric>

namespace peerage::nn {

void HiddenRows::Assign(const StepInput& input, const StepBatch& batch) {
  const absl::Span<const HiddenRow> wanted = input.hidden_rows;
  layer_starts_.clear();
  for (const HiddenRow& row : wanted) {
    if (row.layer >= static_cast<int>(layer_starts_.size())) layer_starts_.resize(row.layer + 1);
    ++layer_starts_[row.layer];
  }
  std::partial_sum(layer_starts_.begin(), layer_starts_.end(), layer_starts_.begin());

  tokens_.resize(wanted.size());
  places_.resize(wanted.size());
  values_.resize(wanted.size() * width_);
  // Layers' ends so far. From the last row to the first, each goes before those of its layer that
  // have a place, and the ends become starts.
  for (size_t i = wanted.size(); i-- > 0;) {
    const HiddenRow& row = wanted[i];
    places_[i] = --layer_starts_[row.layer];
    tokens_[places_[i]] = batch.first_token(row.chunk) + row.row;
  }
}

HiddenRows::Range HiddenRows::RowsOf(int layer) const {
  const auto start = [&](int l) {
    return l < static_cast<int>(layer_starts_.size()) ? layer_starts_[l]
                                                      : static_cast<int>(tokens_.size());
  };
  return {.first = start(layer), .end = start(layer + 1)};
}

absl::Span<const absl::Span<const float>> HiddenRows::Output() {
  output_.clear();
  for (const int place : places_) {
    output_.push_back(absl::MakeConstSpan(values_).subspan(size_t(place) * width_, width_));
  }
  return output_;
}

}  // namespace peerage::nn
