#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "model/experts/expert_figures.h"
#include "server/engine/clock.h"
#include "server/engine/engine.h"
#include "server/experts/background_lane.h"
#include "server/experts/expert_statistics.h"

namespace peerage {

// One expert layer's windows, and what its counters count.
struct LayerWindows {
  std::optional<ExpertUsage> recent;  // where it is kept
  ExpertUsage total;
  UsageSinceStart since_start;
  absl::Duration sum_time = {};  // of a processor
};

struct ExpertLayerSummary {
  uint64_t tokens = 0;
  ExpertFigures figures;
};

struct ExpertSummary {
  absl::Time time;
  std::vector<ExpertLayerSummary> layers;  // [the model's expert layers]
};

// What an ExpertUsageReader works with; all of it must outlive the reader.
struct ExpertUsageParts {
  Engine* engine = nullptr;
  // Of each worker's model, advanced at every turn of the worker; they have one mode.
  std::vector<ExpertStatistics*> statistics = {};
  BackgroundLane* sums = nullptr;  // where the sums are done
  const Clock* clock = nullptr;    // the engine's
  // Whether Read, ReadWindows and Reset are refused while many wait: not those that the server asks
  // for itself, one at a time, which would stand still while clients keep asking.
  bool refuses = true;
};

// Reads the expert usage of the models that an engine runs, together: each worker copies counters
// between two steps of its own, a background lane does the sums.
//
// Threads: safe from many. Each callback is called once, by the lane or, with an error, by the
// caller. FAILED_PRECONDITION for a window that is not kept, RESOURCE_EXHAUSTED, with a retry
// delay, when the workers have too many reads to do already (ExpertUsageParts::refuses),
// UNAVAILABLE when the engine stops or has lost its models, whose counters are gone then. Stop the
// engine before the lane goes, and keep the reader until then: what the lane still runs may ask the
// reader for the next layer.
class ExpertUsageReader {
 public:
  using UsageCallback = std::function<void(absl::StatusOr<ExpertUsage>)>;
  using SummaryCallback = std::function<void(absl::StatusOr<std::shared_ptr<const ExpertSummary>>)>;
  using StatusCallback = std::function<void(absl::Status)>;

  explicit ExpertUsageReader(ExpertUsageParts parts) : parts_(std::move(parts)) {}

  // Precondition: the layer is one of the model's expert layers.
  void Read(int expert_layer, UsageWindow window, const UsageCallback& done);

  // Every window of a layer that is kept, from one copy.
  using WindowsCallback = std::function<void(absl::StatusOr<LayerWindows>)>;
  void ReadWindows(int expert_layer, const WindowsCallback& done);

  // The figures of all layers. Computed at most once a second, however many ask: never refused.
  void Summarize(UsageWindow window, const SummaryCallback& done);

  // Starts a new total window. Those that come while one is being started are answered together by
  // the one behind it, Inbox::kMostErrands of them: the rest are refused as reads are.
  void Reset(StatusCallback done) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  // The latest summary of a window, and the next one while it is being made. Touched by the lane
  // alone.
  struct Summaries {
    std::shared_ptr<const ExpertSummary> latest;
    ExpertSummary next;
    std::vector<SummaryCallback> waiting;
  };

  absl::Status CheckWindow(UsageWindow window) const;
  absl::Status CheckRoom() const;  // for one more read
  absl::Status CheckRead(UsageWindow window) const;
  void ReadLayer(int expert_layer, UsageWindow window, const UsageCallback& done);
  // read(statistics, now) for each worker, between two steps; then, on the lane, all(what each has
  // read), or fail(why not). `read` returns a Part.
  template <typename Part, typename ReadPart, typename TellAll>
  void ReadWorkers(ReadPart read, TellAll all, const StatusCallback& fail);
  // The next layer, or the end: one after the other, so that the worker can step in between.
  void Continue(UsageWindow window);
  void Publish(UsageWindow window);
  void Fail(UsageWindow window, const absl::Status& status);

  void StartReset(std::vector<StatusCallback> done);
  void EndReset(const std::vector<StatusCallback>& done, const absl::Status& status)
      ABSL_LOCKS_EXCLUDED(mu_);

  Summaries& summaries(UsageWindow window) { return summaries_[static_cast<int>(window)]; }

  const ExpertUsageParts parts_;
  std::array<Summaries, 2> summaries_;  // by UsageWindow

  absl::Mutex mu_;
  bool resetting_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<StatusCallback> next_reset_ ABSL_GUARDED_BY(mu_);  // who waits for the next one
};

}  // namespace peerage
