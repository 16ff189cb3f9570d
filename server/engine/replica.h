#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "model/language_model.h"
#include "server/engine/inbox.h"
#include "server/engine/router.h"
#include "server/engine/scheduler.h"
#include "server/engine/worker.h"
#include "server/engine/worker_status.h"

namespace peerage {

// Loads a model. UNAVAILABLE when there can be none on this device any more; after other errors
// somebody asks again later.
using LoadModel = std::function<absl::StatusOr<std::unique_ptr<LanguageModel>>()>;

// How to have another model in the place of one that failed, which it is given, or which hangs:
// null, it is still there. Told which worker it is, on the worker's thread; what it returns is run
// once, on a thread of its own, while the worker goes on without a model. Exceptions of either are
// as errors of the load.
using RebuildModel =
    std::function<LoadModel(int worker, std::unique_ptr<LanguageModel> failed, absl::Time now)>;

struct ReplicaOptions {
  SchedulerOptions scheduler;
  InboxLimits inbox;
  RebuildModel rebuild = nullptr;  // null: a model that fails a step goes on
  // The worker's model hangs or is lost, and is not to be looked at any more.
  std::function<void(int worker)> on_model_gone = nullptr;
  std::function<void(const absl::Status&)> on_all_lost = nullptr;  // of the router's workers
  std::function<void()> on_state = nullptr;                        // after each change of it
  bool has_thread = true;  // false: whoever made it calls Turn
};

// One of an engine's models with everything that drives it: inbox, scheduler, worker and thread. A
// model that fails a step, or hangs, is replaced after a while, which doubles with each failure
// that follows soon, from kFirstDelay to kLongestDelay. Until then requests that have not started
// move to other workers as soon as one is ready, or wait here. A thread that hangs is put aside
// with all that it may touch: when its step ends, the thread does, too. While it does not, the
// worker has no second one.
//
// Threads: safe from many threads; Stop and the destructor are for one.
class Replica {
 public:
  static constexpr absl::Duration kFirstDelay = absl::Milliseconds(100);
  static constexpr absl::Duration kLongestDelay = absl::Minutes(1);

  // `parts` says all but the model and the inbox, which are the replica's. The router must outlive
  // the replica, which becomes its next worker.
  Replica(std::unique_ptr<LanguageModel> model, const WorkerParts& parts, ReplicaOptions options,
          Router* router);
  ~Replica();

  Inbox& inbox() { return inbox_; }
  WorkerStatus status() const;

  // Puts the worker's thread aside when its step has begun by then. From one thread; not with Stop.
  void EndStepBegunBy(absl::Time begin);
  // When the step that runs has begun; InfiniteFuture while none does.
  absl::Time step_since() const { return worker()->step_since(); }

  // Of a replica without a thread: a turn of its worker, and what comes of it. What its thread
  // would wait for has happened by the next turn. False when there was nothing to compute.
  bool Turn();
  // The latest one, for whoever calls Turn.
  std::shared_ptr<Worker> worker() const;

  // Ends every request with UNAVAILABLE, runs the errands that were accepted, and joins the thread,
  // unless it was put aside, and the one that loads a model (WorkerStatus::loads_since).
  // Idempotent.
  void Stop();

 private:
  // A thread with its model and its workers, one after the other.
  struct Life;
  class Loading;

  void StartThread(std::unique_ptr<LanguageModel> model);
  void Run(Life& life);
  void GoOn(Life& life);
  void DriveModel(Life& life);
  void AwaitModel(Life& life);
  void Drive(Life& life, const WorkerParts& parts, const SchedulerOptions& options);
  void StartLoading(Life& life);
  void EndLoading(Life& life);
  void FailLoading(Life& life, const absl::Status& status);
  void LeaveToOthers(Worker& worker, absl::Time now);
  // The worker's requests end with `status`, or are another one's.
  void Fail(Worker& worker, WorkerState state, const absl::Status& status);
  void SetState(WorkerState state, const absl::Status& reason);
  void SetLoadsSince(absl::Time time);
  absl::Time NextTry();

  const WorkerParts parts_;
  const ReplicaOptions options_;
  Router* const router_;
  const std::string device_, kernel_target_;
  Inbox inbox_;
  std::thread thread_;

  mutable absl::Mutex mu_;
  std::shared_ptr<Life> life_ ABSL_GUARDED_BY(mu_);
  std::shared_ptr<Worker> worker_ ABSL_GUARDED_BY(mu_);  // its latest
  WorkerState state_ ABSL_GUARDED_BY(mu_) = WorkerState::kReady;
  absl::Status lost_ ABSL_GUARDED_BY(mu_);
  uint32_t restarts_ ABSL_GUARDED_BY(mu_) = 0;
  WorkerStatus before_ ABSL_GUARDED_BY(mu_);   // what earlier workers have counted
  absl::Time hung_turn_ ABSL_GUARDED_BY(mu_);  // the last one of what was put aside
  absl::Time loads_since_ ABSL_GUARDED_BY(mu_) = absl::InfiniteFuture();
  int failures_ ABSL_GUARDED_BY(mu_) = 0;  // one soon after the other
  absl::Time ready_since_ ABSL_GUARDED_BY(mu_) = absl::InfinitePast();
  std::weak_ptr<Life> aside_ ABSL_GUARDED_BY(mu_);
};

}  // namespace peerage
