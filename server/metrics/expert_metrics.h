#pragma once

#include <prometheus/collectable.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "model/experts/expert_usage.h"
#include "server/experts/background_lane.h"
#include "server/experts/expert_statistics.h"
#include "server/experts/expert_usage_reader.h"

namespace peerage {

// How the experts of a model are used as Prometheus series (docs/metrics.md lists them): for each
// layer and window what the PEER paper reports, beside what chance would show. A scrape gets what
// the last round of updates computed.
//
// Threads: Collect is safe from many; rounds belong to one thread.
class ExpertMetrics final : public prometheus::Collectable {
 public:
  struct Options {
    std::string model_name;
    std::vector<ExpertLayer> layers;  // the model's
    ExpertUsageMode mode = ExpertUsageMode::kRecent;
    ExpertMetricsLevel level = ExpertMetricsLevel::kStandard;
    // Selections that drift is measured against, [layers][num_experts]; empty: none.
    std::vector<std::vector<uint64_t>> baseline = {};
  };
  // Shows an unused model at first; nothing where nothing is counted.
  explicit ExpertMetrics(Options options);

  const std::vector<ExpertLayer>& layers() const { return options_.layers; }  // none when off

  // A round: the windows of each layer in order, and the end, which shows all of them.
  void Update(const LayerWindows& windows);
  void EndRound(absl::Time now);
  // Drops the round. Not an error: the engine is stopping.
  void AbandonRound();

  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  class Families;
  class LayerSeries;
  // What windows say of all layers together.
  struct WindowTotals {
    absl::Duration length;
    uint64_t selections = 0;
  };

  void Add(const LayerWindows& windows);
  void AddWindowTotals();

  const Options options_;
  prometheus::Registry costs_;
  prometheus::Histogram& sum_seconds_;  // in costs_, as the next
  prometheus::Histogram& figure_seconds_;
  std::shared_ptr<Families> next_;  // of the round
  size_t num_updated_ = 0;
  std::map<std::string, WindowTotals> window_totals_;  // by window

  mutable absl::Mutex mu_;
  std::shared_ptr<const Families> latest_ ABSL_GUARDED_BY(mu_);
};

// Keeps ExpertMetrics up to date: a round now, and one in every interval after it, or less often
// where a model is so large that rounds would take more than 1 % of a core.
//
// Threads: safe from many. Stop the engine first, then end the lane; both and the metrics must
// outlive the updates.
class ExpertMetricsUpdates {
 public:
  static constexpr absl::Duration kInterval = absl::Seconds(15);
  // The pause after a round, for one that took so much processor time.
  static absl::Duration PauseAfter(absl::Duration processor_time) {
    return std::max(kInterval, 100 * processor_time);
  }

  // `usage` does its sums on `lane`.
  ExpertMetricsUpdates(ExpertUsageReader* usage, BackgroundLane* lane, const Clock* clock,
                       ExpertMetrics* metrics)
      : usage_(*usage), lane_(*lane), clock_(*clock), metrics_(*metrics) {}

  void Start();

 private:
  // This layer and those behind it: one after the other, so that the worker can step in between.
  void UpdateFrom(size_t expert_layer);

  ExpertUsageReader& usage_;
  BackgroundLane& lane_;
  const Clock& clock_;
  ExpertMetrics& metrics_;
  absl::Duration begin_;  // of the round, in the lane's processor time
};

}  // namespace peerage
