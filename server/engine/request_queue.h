#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/engine/clock.h"
#include "server/engine/running_request.h"

namespace peerage {

// A request that nobody runs any more; its sink has not been told yet.
struct EndedRequest {
  std::unique_ptr<RunningRequest> request;
  absl::Status status;
};

// What happened since the worker last looked.
struct QueueNews {
  std::vector<EndedRequest> ended;       // without having started
  std::vector<RequestHandle> cancelled;  // not waiting: running, or gone
  absl::Status cancel_all;               // not OK: what runs ends with it
  std::vector<WorkerTask> tasks;
};

// Bounded hand-over of requests from many threads to one worker, together with everything else that
// wakes the worker. Waiting requests are in order of priority, then of submission.
//
// Every request that was added leaves through TakeNews or TakeFrontIf, and the worker says Done()
// for it once it has ended.
//
// Threads: safe from many threads; the methods of the worker are for one.
class RequestQueue {
 public:
  // Waiting requests are at most `capacity`. `clock` must outlive the queue.
  RequestQueue(int32_t capacity, const Clock* clock) : capacity_(capacity), clock_(clock) {}

  // As CheckOpen says, RESOURCE_EXHAUSTED when full.
  absl::Status Add(std::unique_ptr<RunningRequest> request);
  void Cancel(RequestHandle handle);
  // Ends everything, waiting or running, with `status`. Precondition: closed, so that nothing
  // follows.
  void CancelAll(absl::Status status);
  void Wake();
  // At the worker's next turn, which begins at once when it sleeps. Once accepted, a task is run,
  // whatever else ends. UNAVAILABLE when shut down.
  absl::Status RunOnWorker(WorkerTask task);
  // No more Add. Idempotent.
  void Close();
  // Close and CancelAll, with a `status` of its own for what comes later, too.
  void Fail(const absl::Status& status);
  // True once every request that was added has ended, false at `deadline`.
  bool WaitUntilAllDone(absl::Time deadline);

  int32_t num_waiting() const;
  int64_t waiting_prompt_tokens() const;
  bool closed() const { return !CheckOpen().ok(); }
  // Why nothing is let in any more, UNAVAILABLE; OK while something is.
  absl::Status CheckOpen() const;

  // The worker's.
  QueueNews TakeNews(absl::Time now);
  // The first in order, or null when there is none or it is not wanted.
  std::unique_ptr<RunningRequest> TakeFrontIf(
      absl::FunctionRef<bool(const RunningRequest&)> wanted);
  void Done();
  // Sleeps until there is something new or the queue is finished, at most until `deadline` or until
  // a waiting request expires.
  void WaitForNews(absl::Time deadline);
  // Lets the worker go once everything that was added is done and every task was taken.
  void Shutdown();
  bool finished() const;

 private:
  // Lower runs sooner.
  using Key = std::pair<int32_t, RequestHandle>;  // priority, order of submission

  void CloseLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool IsFinished() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Notify() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Time EarliestExpiry() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const int32_t capacity_;
  const Clock* const clock_;

  mutable absl::Mutex mu_;
  absl::CondVar news_arrived_;  // for the worker
  absl::CondVar progressed_;    // for WaitUntilAllDone
  std::map<Key, std::unique_ptr<RunningRequest>> waiting_ ABSL_GUARDED_BY(mu_);
  std::vector<RequestHandle> cancelled_ ABSL_GUARDED_BY(mu_);
  std::vector<WorkerTask> tasks_ ABSL_GUARDED_BY(mu_);
  absl::Status cancel_all_ ABSL_GUARDED_BY(mu_);
  int64_t unfinished_ ABSL_GUARDED_BY(mu_) = 0;
  bool has_news_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status refusal_ ABSL_GUARDED_BY(mu_);  // OK until closed
  bool shut_down_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace peerage
