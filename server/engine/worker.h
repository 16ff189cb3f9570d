#pragma once

#include <cstdint>
#include <functional>
#include <utility>

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

namespace peerage {

// What a worker works with; all of it must outlive the worker.
struct WorkerParts {
  LanguageModel* model = nullptr;
  const Clock* clock = nullptr;
  EngineObserver* observer = nullptr;
  Inbox* inbox = nullptr;
  WorkerTask every_turn = nullptr;  // EngineOptions', as the next
  std::function<void(const absl::Status&)> on_lost = nullptr;
  bool count_distinct_experts = false;
};

struct WorkerStatus {
  int32_t requests_running = 0;
  int32_t requests_parked = 0;
  Lack front_lacks = Lack::kNothing;  // the first that waits
  int32_t kv_blocks_free = 0;         // and promised to nobody
  int64_t share_gap = 0;              // largest difference of tokens served, of tenants who wait
  int32_t kv_blocks_cached = 0;       // of them, in the prefix cache
  int64_t prefix_queried_tokens = 0;  // of prompts and contexts, looked for in the prefix cache
  int64_t prefix_hit_tokens = 0;      // and found
  int64_t preemptions = 0;
  uint64_t steps = 0;
  absl::Status lost;     // why the model will never step again; OK while it does
  absl::Time last_turn;  // its end, at first the worker's start; idle ones take one a second
};

// Drives one model: takes what the inbox has, schedules, steps, delivers. Once a step is
// UNAVAILABLE, the model is lost: everything ends with that status, the inbox lets nothing in, and
// the model is not asked for another step.
//
// Threads: Run and Turn belong to one thread; only that thread touches the model, the scheduler and
// the sinks. status() is safe from many.
class Worker {
 public:
  Worker(const WorkerParts& parts, const SchedulerOptions& options);

  // Returns once the inbox is shut down and everything in it is done.
  void Run();

  // One round without waiting: take, schedule, step, deliver. False when there was nothing to
  // compute.
  bool Turn();

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
  void Lose(const absl::Status& status);
  void Deliver(const Batch& batch, const absl::StatusOr<StepOutput>& output, absl::Time now);
  void Begin(Task& task, absl::Time now);
  void CloseSlots();

  // Before anybody hears of what has changed.
  void PublishCounts();
  void ReportStep(const StepEvent& event);
  void ReportTokens();
  void ReportTurn(absl::Time begin, absl::Duration model);
  void CollectTokens(Delivery& delivery);
  void AnnounceEnded(absl::Time now);

  const WorkerParts parts_;
  const ExpertSample counted_;  // of no experts when distinct ones are not counted

  Scheduler scheduler_;
  StepBuilder step_;
  absl::Status lost_;   // WorkerStatus's
  TokensEvent tokens_;  // not reported yet
  int64_t reported_preemptions_ = 0;

  mutable absl::Mutex mu_;
  WorkerStatus status_ ABSL_GUARDED_BY(mu_);
};

}  // namespace peerage
