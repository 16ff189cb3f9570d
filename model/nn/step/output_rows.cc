#include "model/nn/step/output_rows.h"

#include <algorithm>

namespace peerage::nn {

void OutputRows::Assign(const StepInput& input, const StepBatch& batch) {
  chunks_ = input.chunks;
  wanted_ = input.rows;
  places_.clear();
  size_t scores = 0, alternatives = 0;
  for (const OutputRow& row : wanted_) {
    const Place place{.token = batch.first_token(row.chunk) + row.row,
                      .first_score = scores,
                      .scores = row.sample ? 1 : row.targets.size(),
                      .first_alternative = alternatives,
                      .alternatives = static_cast<size_t>(std::clamp(
                          row.alternatives, 0, std::min(kMaxAlternatives, vocab_size_)))};
    scores += place.scores;
    alternatives += place.alternatives;
    places_.push_back(place);
  }
  scores_.resize(scores);
  alternatives_.resize(alternatives);
}

absl::Span<TokenScore> OutputRows::scores(int row) {
  return absl::MakeSpan(scores_).subspan(places_[row].first_score, places_[row].scores);
}

absl::Span<TokenAlternative> OutputRows::alternatives(int row) {
  return absl::MakeSpan(alternatives_)
      .subspan(places_[row].first_alternative, places_[row].alternatives);
}

StepOutput OutputRows::Output() {
  rows_.clear();
  statuses_.assign(chunks_.size(), absl::OkStatus());
  for (int row = 0; row < size(); ++row) {
    rows_.push_back({scores(row), alternatives(row)});
    if (places_[row].failed) {
      statuses_[wanted_[row].chunk] = absl::InternalError("the model's output is not a number");
    }
  }
  return {.rows = rows_, .chunk_status = statuses_};
}

}  // namespace peerage::nn
