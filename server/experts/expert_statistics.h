#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/numeric/int128.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "base/choice.h"
#include "model/experts/expert_figures.h"
#include "model/experts/expert_usage.h"
#include "model/language_model.h"

namespace peerage {

// What kinds of experts are called in labels and addresses.
inline constexpr Choice<ExpertLayerKind> kExpertLayerKinds[] = {
    {"peer", ExpertLayerKind::kPeer},
    {"pkm", ExpertLayerKind::kProductKeyMemory},
    {"mixture_ffn", ExpertLayerKind::kMixtureFfn},
    {"mixture_attention", ExpertLayerKind::kMixtureAttention}};

// Which windows of expert usage are kept.
enum class ExpertUsageMode { kOff, kTotal, kRecent };  // kRecent: both windows

inline constexpr Choice<ExpertUsageMode> kExpertUsageModes[] = {
    {"off", ExpertUsageMode::kOff},
    {"total", ExpertUsageMode::kTotal},
    {"recent", ExpertUsageMode::kRecent}};

// How many series there are of a model's experts; each level has those of the one before.
enum class ExpertMetricsLevel { kOff, kBasic, kStandard, kFull };

inline constexpr Choice<ExpertMetricsLevel> kExpertMetricsLevels[] = {
    {"off", ExpertMetricsLevel::kOff},
    {"basic", ExpertMetricsLevel::kBasic},
    {"standard", ExpertMetricsLevel::kStandard},
    {"full", ExpertMetricsLevel::kFull}};

// kRecent: the current slice of 2.5 minutes and the one before it. kTotal: since start or reset.
enum class UsageWindow { kRecent, kTotal };

inline constexpr Choice<UsageWindow> kUsageWindows[] = {{"recent", UsageWindow::kRecent},
                                                        {"total", UsageWindow::kTotal}};

// How an expert layer was used over a window: by the steps that began in [start, end).
struct ExpertUsage {
  absl::Time start;
  absl::Time end;
  uint64_t tokens = 0;
  std::vector<uint64_t> selections;  // [num_experts]
  std::vector<double> score_sums;    // [num_experts]: the PEER paper's z'
  double squared_scores = 0;         // sum of the squared weights of all picks
  std::vector<uint64_t> sub_keys;    // LanguageModel::ReadSubKeys
};

// Selections of a layer with product keys by blocks of neighbouring sub-keys: kBlocks of them, or
// one a sub-key where there are fewer.
struct SubKeyBlocks {
  static constexpr uint32_t kBlocks = 16;

  std::vector<uint64_t> rows;  // by the first sub-key; empty: nothing
  std::vector<uint64_t> columns;

  static SubKeyBlocks Of(const ExpertLayer& layer, absl::Span<const uint64_t> selections);
  // The last sub-key of each block.
  static std::vector<uint32_t> Bounds(const ExpertLayer& layer);
  SubKeyBlocks& operator+=(const SubKeyBlocks& other);
};

// What counters, which never fall, show of a layer: everything since the server's start.
struct UsageSinceStart {
  UsageTotals totals;
  // [num_experts] of layers with at most kMostNamedExperts.
  std::vector<uint64_t> selections;
  std::vector<double> score_sums;
  SubKeyBlocks before_reset;  // what the total window no longer has
};

// Whether such a window is there.
inline bool IsKept(UsageWindow window, ExpertUsageMode mode) {
  return window == UsageWindow::kRecent ? mode == ExpertUsageMode::kRecent
                                        : mode != ExpertUsageMode::kOff;
}

ExpertFigures FiguresOf(const ExpertLayer& layer, const ExpertUsage& usage);

// What a window consists of: a copy of what the model counts in, and what is kept of earlier. Cheap
// to take between two steps; Sum belongs on another thread. What is copied is shared by the copies
// of a snapshot.
class UsageSnapshot {
 public:
  // Of the same layer and window of several models, which are counted together. The window is the
  // longest of theirs. Precondition: there is one.
  static UsageSnapshot Join(absl::Span<const UsageSnapshot> snapshots);

  ExpertUsage Sum() const;
  // Of the total window, and of what earlier resets took out of it.
  // Precondition: a snapshot of the total window.
  UsageSinceStart SumSinceStart() const;

 private:
  friend class ExpertStatistics;

  UsageTotals SumOfLayer() const;

  // What was counted before: sums of earlier slices.
  struct Totals {
    UsageTotals layer;
    std::vector<uint64_t> selections;
    std::vector<absl::uint128> scores;  // in ExpertCount::kUnit
    std::vector<uint64_t> sub_keys;
    SubKeyBlocks blocks;  // of what resets took out alone
  };
  struct Slice {
    UsageTotals layer;
    std::vector<ExpertCount> experts;
    std::vector<uint64_t> sub_keys;

    Slice& operator+=(const Slice& other);
    Slice& operator-=(const Slice& other);  // a part of it
  };

  struct OfModel {
    std::shared_ptr<const Slice> active;
    std::shared_ptr<const Slice> too_early;      // of it, before the window; null: nothing
    std::shared_ptr<const Slice> previous;       // null: nothing
    std::shared_ptr<const Totals> totals;        // null: nothing
    std::shared_ptr<const Totals> before_reset;  // null: nothing
  };
  size_t num_experts() const { return models_.front().active->experts.size(); }

  absl::Time start_;
  absl::Time end_;
  std::vector<OfModel> models_;  // at least one
};

// Experts of a layer that may have series of their own: all of a mixture.
inline constexpr size_t kMostNamedExperts = 256;

// The windows of a model's expert usage. The model counts into one accumulator for each expert
// layer; that is the current slice. At the end of a slice it becomes the previous one, is added to
// the totals and starts from zero. Sums are exact and do not depend on any order.
//
// Threads: none; belongs to the worker's thread, like the model. Snapshots may go elsewhere: what
// they share with this object never changes.
// Cost: once in 2.5 minutes, a pass over all counters (a million experts: some 5 ms).
class ExpertStatistics {
 public:
  static constexpr absl::Duration kSlice = absl::Seconds(150);

  // `model` must outlive the statistics, or until it is forgotten or replaced.
  ExpertStatistics(ExpertUsageMode mode, LanguageModel* model, absl::Time start);

  ExpertUsageMode mode() const { return mode_; }

  // Time has gone on: ends the slice when it is over. To be called before each step, with the time
  // at which it begins.
  void Advance(absl::Time now);

  // Precondition: the window is kept; the layer is one of the model's expert layers.
  UsageSnapshot Snapshot(int expert_layer, UsageWindow window, absl::Time now);
  // Of every window that is kept, by UsageWindow, from one copy.
  std::array<std::optional<UsageSnapshot>, 2> Snapshots(int expert_layer, absl::Time now);

  // The model is not to be looked at any more: what it counted in the current slice, and since the
  // last reset, is lost.
  void Forget() { model_ = nullptr; }
  // From here on `model` counts, which has counted nothing; null: nobody does. What the one before
  // it has counted stays.
  void Replace(LanguageModel* model);

  // Starts a new total window. The recent one goes on.
  void Reset(absl::Time now);

 private:
  using Slice = UsageSnapshot::Slice;
  using Totals = UsageSnapshot::Totals;

  struct Layer {
    // Of the current slice, what the model does not have: earlier ones counted it, or it did before
    // the last reset. So whatever becomes of the model, no window loses more than it has.
    std::shared_ptr<const Slice> set_aside;
    std::shared_ptr<const Slice> reset;  // of that, what is before the total window
    std::shared_ptr<const Slice> previous;
    std::shared_ptr<const Totals> totals;
    std::shared_ptr<const Totals> before_reset;
  };

  int num_layers() const { return static_cast<int>(layers_.size()); }
  // What was counted in the current slice.
  Slice ReadSlice(int expert_layer);
  uint64_t TokensOfSlice(int expert_layer);
  void EndSlice(int expert_layer);
  const ExpertLayer& shape(int expert_layer) const { return shapes_[expert_layer]; }
  // What was counted since the start, if `active` is what the total window has of the current
  // slice.
  std::shared_ptr<const Totals> SinceStart(int expert_layer, const Slice& active) const;
  UsageSnapshot SnapshotOf(int expert_layer, UsageWindow window, absl::Time now,
                           std::shared_ptr<const Slice> active) const;

  const ExpertUsageMode mode_;
  const std::vector<ExpertLayer> shapes_;
  LanguageModel* model_;  // null: nobody counts
  absl::Time slice_start_;
  absl::Time recent_start_;  // of the previous slice, if there was one
  absl::Time total_start_;
  std::vector<Layer> layers_;
};

// Memory for the windows of these layers, beside what the model counts in: the previous slice and
// the totals of each, and the copies of the largest layer of one read and of one for metrics.
uint64_t ExpertUsageBytes(absl::Span<const ExpertLayer> layers, ExpertUsageMode mode);

}  // namespace peerage
