#include "server/experts/expert_statistics.h"

#include <algorithm>
#include <utility>

namespace peerage {
namespace {

double ToScore(absl::uint128 units) { return static_cast<double>(units) * ExpertCount::kUnit; }

}  // namespace

ExpertFigures FiguresOf(const ExpertLayer& layer, const ExpertUsage& usage) {
  return ComputeExpertFigures({.selections = usage.selections,
                               .scores = usage.score_sums,
                               .squared_scores = usage.squared_scores,
                               .top_k = layer.top_k,
                               .expert_sets = layer.expert_sets});
}

UsageTotals UsageSnapshot::SumOfLayer() const {
  UsageTotals layer = active_->layer;
  if (previous_ != nullptr) layer += previous_->layer;
  if (totals_ != nullptr) layer += totals_->layer;
  return layer;
}

ExpertUsage UsageSnapshot::Sum() const {
  const size_t num_experts = active_->experts.size();
  const UsageTotals layer = SumOfLayer();
  ExpertUsage usage{.start = start_, .end = end_, .tokens = layer.tokens};
  usage.squared_scores =
      static_cast<double>(layer.squared_scores) * ExpertCount::kUnit * ExpertCount::kUnit;
  usage.selections.resize(num_experts);
  usage.score_sums.resize(num_experts);
  for (size_t i = 0; i < num_experts; ++i) {
    uint64_t selections = active_->experts[i].selections;
    absl::uint128 score = active_->experts[i].score;
    if (previous_ != nullptr) {
      selections += previous_->experts[i].selections;
      score += previous_->experts[i].score;
    }
    if (totals_ != nullptr) {
      selections += totals_->selections[i];
      score += totals_->scores[i];
    }
    usage.selections[i] = selections;
    usage.score_sums[i] = ToScore(score);
  }
  return usage;
}

ExpertUsage UsageSnapshot::SumSinceStart() const {
  const bool large = active_->experts.size() > kMostNamedExperts;
  ExpertUsage usage = large ? ExpertUsage{.tokens = SumOfLayer().tokens} : Sum();
  if (before_reset_ == nullptr) return usage;
  usage.tokens += before_reset_->layer.tokens;
  for (size_t i = 0; i < before_reset_->selections.size(); ++i) {
    usage.selections[i] += before_reset_->selections[i];
    usage.score_sums[i] += ToScore(before_reset_->scores[i]);
  }
  return usage;
}

ExpertStatistics::ExpertStatistics(ExpertUsageMode mode, LanguageModel* model, absl::Time start)
    : mode_(mode),
      model_(model),
      slice_start_(start),
      recent_start_(start),
      total_start_(start),
      layers_(mode == ExpertUsageMode::kOff ? 0 : model->description().expert_layers.size()) {}

void ExpertStatistics::Advance(absl::Time now) {
  if (layers_.empty() || now < slice_start_ + kSlice) return;
  const int64_t slices = (now - slice_start_) / kSlice;
  for (int i = 0; i < num_layers(); ++i) {
    EndSlice(i);
    // Every step began in the slice that ended first: a later one passed without any.
    if (slices > 1) layers_[i].previous = nullptr;
  }
  model_->ClearUsage();
  slice_start_ += slices * kSlice;
  recent_start_ = slice_start_ - kSlice;
}

UsageSnapshot::Slice ExpertStatistics::ReadSlice(int expert_layer) {
  Slice slice;
  slice.experts.resize(model_->description().expert_layers[expert_layer].num_experts);
  slice.layer = model_->ReadUsage(expert_layer, absl::MakeSpan(slice.experts));
  return slice;
}

void ExpertStatistics::EndSlice(int expert_layer) {
  Layer& layer = layers_[expert_layer];
  layer.previous = nullptr;
  if (model_->ReadUsage(expert_layer, {}).tokens == 0) return;
  Slice usage = ReadSlice(expert_layer);
  auto totals = layer.totals == nullptr ? std::make_shared<Totals>()
                                        : std::make_shared<Totals>(*layer.totals);
  totals->layer += usage.layer;
  totals->selections.resize(usage.experts.size());
  totals->scores.resize(usage.experts.size());
  for (size_t i = 0; i < usage.experts.size(); ++i) {
    totals->selections[i] += usage.experts[i].selections;
    totals->scores[i] += usage.experts[i].score;
  }
  layer.totals = std::move(totals);
  if (mode_ == ExpertUsageMode::kRecent) {
    layer.previous = std::make_shared<const Slice>(std::move(usage));
  }
}

UsageSnapshot ExpertStatistics::Snapshot(int expert_layer, UsageWindow window, absl::Time now) {
  Advance(now);
  return SnapshotOf(expert_layer, window, now,
                    std::make_shared<const Slice>(ReadSlice(expert_layer)));
}

std::array<std::optional<UsageSnapshot>, 2> ExpertStatistics::Snapshots(int expert_layer,
                                                                        absl::Time now) {
  Advance(now);
  const auto active = std::make_shared<const Slice>(ReadSlice(expert_layer));
  std::array<std::optional<UsageSnapshot>, 2> snapshots;
  for (const UsageWindow window : {UsageWindow::kRecent, UsageWindow::kTotal}) {
    if (!IsKept(window, mode_)) continue;
    snapshots[static_cast<size_t>(window)] = SnapshotOf(expert_layer, window, now, active);
  }
  return snapshots;
}

UsageSnapshot ExpertStatistics::SnapshotOf(int expert_layer, UsageWindow window, absl::Time now,
                                           std::shared_ptr<const Slice> active) const {
  const Layer& layer = layers_[expert_layer];
  UsageSnapshot snapshot;
  snapshot.end_ = now;
  snapshot.active_ = std::move(active);
  if (window == UsageWindow::kRecent) {
    snapshot.start_ = recent_start_;
    snapshot.previous_ = layer.previous;
  } else {
    snapshot.start_ = total_start_;
    snapshot.totals_ = layer.totals;
    snapshot.before_reset_ = layer.before_reset;
  }
  return snapshot;
}

std::shared_ptr<const UsageSnapshot::Totals> ExpertStatistics::SinceStart(const Layer& layer,
                                                                          const Slice& active) {
  auto sum = std::make_shared<Totals>();
  sum->layer = active.layer;
  const size_t experts = active.experts.size() > kMostNamedExperts ? 0 : active.experts.size();
  for (size_t i = 0; i < experts; ++i) {
    sum->selections.push_back(active.experts[i].selections);
    sum->scores.push_back(active.experts[i].score);
  }
  for (const auto& earlier : {layer.totals, layer.before_reset}) {
    if (earlier == nullptr) continue;
    sum->layer += earlier->layer;
    for (size_t i = 0; i < experts; ++i) {
      sum->selections[i] += earlier->selections[i];
      sum->scores[i] += earlier->scores[i];
    }
  }
  return sum;
}

void ExpertStatistics::Reset(absl::Time now) {
  Advance(now);
  total_start_ = now;
  for (int i = 0; i < num_layers(); ++i) {
    const Slice usage = ReadSlice(i);
    layers_[i].before_reset = SinceStart(layers_[i], usage);
    auto totals = std::make_shared<Totals>();
    totals->layer = {.tokens = -usage.layer.tokens, .squared_scores = -usage.layer.squared_scores};
    for (const ExpertCount& count : usage.experts) {
      totals->selections.push_back(-count.selections);
      totals->scores.push_back(-absl::uint128(count.score));
    }
    layers_[i].totals = std::move(totals);
  }
}

uint64_t ExpertUsageBytes(absl::Span<const ExpertLayer> layers, ExpertUsageMode mode) {
  if (mode == ExpertUsageMode::kOff) return 0;
  constexpr uint64_t kTotals = sizeof(uint64_t) + sizeof(absl::uint128);
  constexpr uint64_t kSum = sizeof(uint64_t) + sizeof(double);
  constexpr uint64_t kRead = sizeof(ExpertCount) + kSum;
  constexpr uint64_t kReadWindows = sizeof(ExpertCount) + 2 * kSum;  // for metrics
  const uint64_t previous = mode == ExpertUsageMode::kRecent ? sizeof(ExpertCount) : 0;
  const uint64_t kept = previous + kTotals;
  uint64_t bytes = 0;
  uint64_t largest = 0;
  for (const ExpertLayer& layer : layers) {
    bytes += layer.num_experts * kept;
    largest = std::max<uint64_t>(largest, layer.num_experts);
  }
  return bytes + largest * (kRead + kReadWindows);
}

}  // namespace peerage
