#include "server/experts/expert_statistics.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "model/experts/expert_numbers.h"

namespace peerage {
namespace {

void Add(absl::Span<const uint64_t> more, std::vector<uint64_t>& sums) {
  sums.resize(std::max(sums.size(), more.size()));
  for (size_t i = 0; i < more.size(); ++i) sums[i] += more[i];
}

void Subtract(absl::Span<const uint64_t> part, std::vector<uint64_t>& sums) {
  for (size_t i = 0; i < part.size(); ++i) sums[i] -= part[i];
}

double ToScore(absl::uint128 units) { return static_cast<double>(units) * ExpertCount::kUnit; }

}  // namespace

ExpertFigures FiguresOf(const ExpertLayer& layer, const ExpertUsage& usage) {
  return ComputeExpertFigures({.selections = usage.selections,
                               .scores = usage.score_sums,
                               .squared_scores = usage.squared_scores,
                               .top_k = layer.top_k,
                               .expert_sets = layer.expert_sets});
}

SubKeyBlocks SubKeyBlocks::Of(const ExpertLayer& layer, absl::Span<const uint64_t> selections) {
  const uint32_t n = layer.num_sub_keys;
  if (n == 0) return {};
  SubKeyBlocks sums;
  const SubKeySelections each = SelectionsBySubKey(selections, n);
  uint32_t first = 0;
  for (const uint32_t bound : Bounds(layer)) {
    const auto of_block = [first, bound](const std::vector<uint64_t>& counts) {
      return std::accumulate(&counts[first], &counts[bound] + 1, uint64_t{0});
    };
    sums.rows.push_back(of_block(each.rows));
    sums.columns.push_back(of_block(each.columns));
    first = bound + 1;
  }
  return sums;
}

std::vector<uint32_t> SubKeyBlocks::Bounds(const ExpertLayer& layer) {
  const uint32_t n = layer.num_sub_keys, blocks = std::min(n, kBlocks);
  std::vector<uint32_t> bounds;
  for (uint32_t i = 1; i <= blocks; ++i) bounds.push_back(n * i / blocks - 1);
  return bounds;
}

SubKeyBlocks& SubKeyBlocks::operator+=(const SubKeyBlocks& other) {
  Add(other.rows, rows);
  Add(other.columns, columns);
  return *this;
}

UsageSnapshot::Slice& UsageSnapshot::Slice::operator+=(const Slice& other) {
  layer += other.layer;
  for (size_t i = 0; i < experts.size(); ++i) {
    experts[i].selections += other.experts[i].selections;
    experts[i].score += other.experts[i].score;
  }
  Add(other.sub_keys, sub_keys);
  return *this;
}

UsageSnapshot::Slice& UsageSnapshot::Slice::operator-=(const Slice& other) {
  layer += -other.layer;
  for (size_t i = 0; i < experts.size(); ++i) {
    experts[i].selections -= other.experts[i].selections;
    experts[i].score -= other.experts[i].score;
  }
  Subtract(other.sub_keys, sub_keys);
  return *this;
}

UsageSnapshot UsageSnapshot::Join(absl::Span<const UsageSnapshot> snapshots) {
  UsageSnapshot joined = snapshots.front();
  for (const UsageSnapshot& other : snapshots.subspan(1)) {
    joined.start_ = std::min(joined.start_, other.start_);
    joined.end_ = std::max(joined.end_, other.end_);
    joined.models_.insert(joined.models_.end(), other.models_.begin(), other.models_.end());
  }
  return joined;
}

UsageTotals UsageSnapshot::SumOfLayer() const {
  UsageTotals layer;
  for (const OfModel& model : models_) {
    layer += model.active->layer;
    if (model.too_early != nullptr) layer += -model.too_early->layer;
    if (model.previous != nullptr) layer += model.previous->layer;
    if (model.totals != nullptr) layer += model.totals->layer;
  }
  return layer;
}

ExpertUsage UsageSnapshot::Sum() const {
  const UsageTotals layer = SumOfLayer();
  ExpertUsage usage{.start = start_, .end = end_, .tokens = layer.tokens};
  usage.squared_scores =
      static_cast<double>(layer.squared_scores) * ExpertCount::kUnit * ExpertCount::kUnit;
  usage.selections.resize(num_experts());
  usage.score_sums.resize(num_experts());
  for (size_t i = 0; i < num_experts(); ++i) {
    absl::uint128 score = 0;
    for (const OfModel& model : models_) {
      for (const Slice* slice : {model.active.get(), model.previous.get()}) {
        if (slice == nullptr) continue;
        usage.selections[i] += slice->experts[i].selections;
        score += slice->experts[i].score;
      }
      if (model.too_early != nullptr) {
        usage.selections[i] -= model.too_early->experts[i].selections;
        score -= model.too_early->experts[i].score;
      }
      if (model.totals == nullptr) continue;
      usage.selections[i] += model.totals->selections[i];
      score += model.totals->scores[i];
    }
    usage.score_sums[i] = ToScore(score);
  }
  for (const OfModel& model : models_) {
    Add(model.active->sub_keys, usage.sub_keys);
    if (model.previous != nullptr) Add(model.previous->sub_keys, usage.sub_keys);
    if (model.totals != nullptr) Add(model.totals->sub_keys, usage.sub_keys);
    if (model.too_early != nullptr) Subtract(model.too_early->sub_keys, usage.sub_keys);
  }
  return usage;
}

UsageSinceStart UsageSnapshot::SumSinceStart() const {
  UsageSinceStart sum{.totals = SumOfLayer()};
  if (num_experts() <= kMostNamedExperts) {
    ExpertUsage usage = Sum();
    sum.selections = std::move(usage.selections);
    sum.score_sums = std::move(usage.score_sums);
  }
  for (const OfModel& model : models_) {
    if (model.before_reset == nullptr) continue;
    const Totals& before = *model.before_reset;
    sum.totals += before.layer;
    sum.before_reset += before.blocks;
    for (size_t i = 0; i < before.selections.size(); ++i) {
      sum.selections[i] += before.selections[i];
      sum.score_sums[i] += ToScore(before.scores[i]);
    }
  }
  return sum;
}

ExpertStatistics::ExpertStatistics(ExpertUsageMode mode, LanguageModel* model, absl::Time start)
    : mode_(mode),
      shapes_(model->description().expert_layers),
      model_(model),
      slice_start_(start),
      recent_start_(start),
      total_start_(start),
      layers_(mode == ExpertUsageMode::kOff ? 0 : shapes_.size()) {}

void ExpertStatistics::Advance(absl::Time now) {
  if (layers_.empty() || now < slice_start_ + kSlice) return;
  const int64_t slices = (now - slice_start_) / kSlice;
  for (int i = 0; i < num_layers(); ++i) {
    EndSlice(i);
    // Every step began in the slice that ended first: a later one passed without any.
    if (slices > 1) layers_[i].previous = nullptr;
    layers_[i].set_aside = layers_[i].reset = nullptr;
  }
  if (model_ != nullptr) model_->ClearUsage();
  slice_start_ += slices * kSlice;
  recent_start_ = slice_start_ - kSlice;
}

UsageSnapshot::Slice ExpertStatistics::ReadSlice(int expert_layer) {
  Slice slice;
  slice.experts.resize(shape(expert_layer).num_experts);
  slice.sub_keys.resize(shape(expert_layer).sub_keys_of_heads());
  if (model_ != nullptr) {
    slice.layer = model_->ReadUsage(expert_layer, absl::MakeSpan(slice.experts));
    model_->ReadSubKeys(expert_layer, absl::MakeSpan(slice.sub_keys));
  }
  const Slice* set_aside = layers_[expert_layer].set_aside.get();
  if (set_aside == nullptr) return slice;
  slice += *set_aside;
  return slice;
}

uint64_t ExpertStatistics::TokensOfSlice(int expert_layer) {
  const Slice* set_aside = layers_[expert_layer].set_aside.get();
  const uint64_t counted = model_ == nullptr ? 0 : model_->ReadUsage(expert_layer, {}).tokens;
  return counted + (set_aside == nullptr ? 0 : set_aside->layer.tokens);
}

void ExpertStatistics::Replace(LanguageModel* model) {
  for (int i = 0; i < num_layers(); ++i) {
    if (TokensOfSlice(i) == 0) continue;
    layers_[i].set_aside = std::make_shared<const Slice>(ReadSlice(i));
  }
  model_ = model;
}

void ExpertStatistics::EndSlice(int expert_layer) {
  Layer& layer = layers_[expert_layer];
  layer.previous = nullptr;
  if (TokensOfSlice(expert_layer) == 0) return;
  Slice usage = ReadSlice(expert_layer);
  if (mode_ == ExpertUsageMode::kRecent) layer.previous = std::make_shared<const Slice>(usage);
  if (layer.reset != nullptr) usage -= *layer.reset;
  auto totals = layer.totals == nullptr ? std::make_shared<Totals>()
                                        : std::make_shared<Totals>(*layer.totals);
  totals->layer += usage.layer;
  totals->selections.resize(usage.experts.size());
  totals->scores.resize(usage.experts.size());
  for (size_t i = 0; i < usage.experts.size(); ++i) {
    totals->selections[i] += usage.experts[i].selections;
    totals->scores[i] += usage.experts[i].score;
  }
  Add(usage.sub_keys, totals->sub_keys);
  layer.totals = std::move(totals);
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
  UsageSnapshot::OfModel& counts = snapshot.models_.emplace_back();
  counts.active = std::move(active);
  if (window == UsageWindow::kRecent) {
    snapshot.start_ = recent_start_;
    counts.previous = layer.previous;
  } else {
    snapshot.start_ = total_start_;
    counts.too_early = layer.reset;
    counts.totals = layer.totals;
    counts.before_reset = layer.before_reset;
  }
  return snapshot;
}

std::shared_ptr<const UsageSnapshot::Totals> ExpertStatistics::SinceStart(
    int expert_layer, const Slice& active) const {
  const Layer& layer = layers_[expert_layer];
  auto sum = std::make_shared<Totals>();
  sum->layer = active.layer;
  for (const ExpertCount& count : active.experts) {
    sum->selections.push_back(count.selections);
    sum->scores.push_back(count.score);
  }
  for (const auto& earlier : {layer.totals, layer.before_reset}) {
    if (earlier == nullptr) continue;
    sum->layer += earlier->layer;
    sum->blocks += earlier->blocks;
    Add(earlier->selections, sum->selections);
    for (size_t i = 0; i < earlier->scores.size(); ++i) sum->scores[i] += earlier->scores[i];
  }
  SubKeyBlocks blocks = SubKeyBlocks::Of(shape(expert_layer), sum->selections);
  if (active.experts.size() > kMostNamedExperts) {  // these are the total window's alone
    blocks += sum->blocks;
    sum->selections.clear();
    sum->scores.clear();
  }
  sum->blocks = std::move(blocks);
  return sum;
}

void ExpertStatistics::Reset(absl::Time now) {
  Advance(now);
  total_start_ = now;
  for (int i = 0; i < num_layers(); ++i) {
    Layer& layer = layers_[i];
    const auto usage = std::make_shared<const Slice>(ReadSlice(i));
    Slice of_window = *usage;
    if (layer.reset != nullptr) of_window -= *layer.reset;
    layer.before_reset = SinceStart(i, of_window);
    layer.totals = nullptr;
    if (usage->layer.tokens > 0) layer.set_aside = layer.reset = usage;
  }
  if (model_ != nullptr && !layers_.empty()) model_->ClearUsage();
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
    bytes += layer.sub_keys_of_heads() * 4 * sizeof(uint64_t);  // slices, totals, a sum
    largest = std::max<uint64_t>(largest, layer.num_experts);
  }
  return bytes + largest * (kRead + kReadWindows);
}

}  // namespace peerage
