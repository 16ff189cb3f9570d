#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "model/language_model.h"
#include "server/engine/clock.h"
#include "server/engine/distinct_experts.h"
#include "server/engine/inbox.h"
#include "server/engine/observer.h"
#include "server/engine/scheduler.h"
#include "server/engine/step_builder.h"
#include "server/engine/worker_status.h"

namespace peerage {

// What a worker works with; all of it must outlive the worker.
struct WorkerParts {
  int index = 0;                   // of the worker, among those of an engine
  LanguageModel* model = nullptr;  // null: requests wait for one, and nothing is scheduled
  const Clock* clock = nullptr;
  EngineObserver* observer = nullptr;
  Inbox* inbox = nullptr;
  WorkerTask every_turn = nullptr;  // at the beginning of each turn, until the model fails
  // Told by the worker, once, that its model is not asked for another step (UNAVAILABLE: lost; or
  // failed, where `ends_at_failure`), before anybody hears of the requests that end with that.
  std::function<void(const absl::Status&)> on_failed = nullptr;
  // Whether a step that fails ends all that runs, and Run. Else it ends its own requests.
  bool ends_at_failure = false;
  bool count_distinct_experts = false;
};

// Drives one model: takes what the inbox has, schedules, steps, delivers. Once a step is
// UNAVAILABLE, the model is lost: everything ends with that status, the inbox lets nothing in, and
// the model is not asked for another step.
//
// Threads: Run and Turn belong to one thread; only that thread touches the model, the scheduler and
// the sinks. status() and Abandon are safe from many. Once Abandon was true, all but the step that
// runs is for whoever asked.
class Worker {
 public:
  Worker(const WorkerParts& parts, const SchedulerOptions& options);

  // Returns once the inbox is shut down and everything in it is done, or earlier: failed,
  // abandoned, or when an errand has called EndRun; at most until its time. May be called again.
  void Run(absl::Time until);
  void EndRun() { ends_run_ = true; }

  // One round without waiting: take, schedule, step, deliver. False when there was nothing to
  // compute.
  bool Turn();

  // Whether the model failed a step and Run has ended, or will.
  bool failed() const { return parts_.ends_at_failure && !failure_.ok(); }

  // What waits and has not started, for another worker; of the rest, what waits again ends with
  // `status` and what was cancelled as cancelled, for AnnounceEnded to tell. To be called from
  // on_failed, after Run or after Abandon.
  std::vector<std::unique_ptr<Task>> GiveUpWaiting(const absl::Status& status, absl::Time now);

  // When the step that runs has begun; InfiniteFuture while none does.
  absl::Time step_since() const;
  // True, once, when a step runs that has begun by then: when it ends, its results are nobody's,
  // and Run returns without touching anything but the worker.
  bool Abandon(absl::Time begun_by);
  // Tells those whose requests have ended.
  void AnnounceEnded(absl::Time now);
  // Of an abandoned worker: everything that runs ends with `status`, but is not freed, for the step
  // may still read of it.
  void EndAbandoned(const absl::Status& status, absl::Time now);
  // Safe once Run has returned.
  bool abandoned() const;

  WorkerStatus status() const;

  // For the thread that calls Turn.
  const Scheduler& scheduler() const { return scheduler_; }

 private:
  void TakeMail(absl::Time now);
  void LookAtReaders(absl::Time now);

  // Computes a batch; how long the model took.
  absl::Duration Compute(const Batch& batch, absl::Time now);
  absl::StatusOr<StepOutput> Step(const Batch& batch, absl::Time now);
  StepEvent Describe(const Batch& batch, absl::Duration duration) const;
  void FailStep(const Batch& batch, const absl::Status& status);
  void FailModel(const absl::Status& status);
  void Deliver(const Batch& batch, const StepOutput& output, absl::Time now);
  void Begin(Task& task, absl::Time now);
  void CloseSlots();

  // Before anybody hears of what has changed.
  void PublishCounts();
  void ReportStep(const StepEvent& event);
  void ReportTokens();
  void ReportTurn(absl::Time begin, absl::Duration model);
  void CollectTokens(Delivery& delivery);
  void Announce(const Task& task, const absl::Status& status, absl::Time now);

  const WorkerParts parts_;
  const ExpertSample counted_;  // of no experts when distinct ones are not counted

  Scheduler scheduler_;
  StepBuilder step_;
  bool ends_run_ = false;
  absl::Status failure_;  // of a model that is not asked for another step
  TokensEvent tokens_;    // not reported yet
  int64_t reported_preemptions_ = 0;

  mutable absl::Mutex mu_;
  WorkerStatus status_ ABSL_GUARDED_BY(mu_);
  absl::Time step_since_ ABSL_GUARDED_BY(mu_) = absl::InfiniteFuture();  // while one runs
  bool abandoned_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace peerage
