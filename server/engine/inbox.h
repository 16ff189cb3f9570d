#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/engine/clock.h"
#include "server/engine/request.h"
#include "server/engine/task.h"

namespace peerage {

// What came since the worker last looked.
struct Mail {
  std::vector<std::unique_ptr<Task>> arrivals;
  std::vector<RequestHandle> cancelled;
  absl::Status end_all;  // not OK: everything ends with it, now and whatever comes later
  std::vector<WorkerTask> errands;
};

// Bounded hand-over of requests from many threads to one worker, together with everything else that
// wakes the worker. The worker says when a request waits no more, and when it has ended.
//
// Threads: safe from many threads; the methods of the worker are for one.
class Inbox {
 public:
  // Waiting requests are at most `capacity`. `clock` must outlive the inbox.
  Inbox(int32_t capacity, const Clock* clock) : capacity_(capacity), clock_(clock) {}

  // As CheckOpen says, RESOURCE_EXHAUSTED when full.
  absl::Status Add(std::unique_ptr<Task> task);
  void Cancel(RequestHandle handle);
  // Ends everything, waiting or running, with `status`. Precondition: closed, so that nothing
  // follows.
  void EndAll(absl::Status status);
  void Wake();
  // At the worker's next turn, which begins at once when it sleeps. Once accepted, an errand is
  // run, whatever else ends. UNAVAILABLE when shut down.
  absl::Status Run(WorkerTask errand);
  // No more Add. Idempotent.
  void Close();
  // Close and EndAll, with a `status` of its own for what comes later, too.
  void Fail(const absl::Status& status);
  // True once every request that was added has ended, false at `deadline`.
  bool WaitUntilAllDone(absl::Time deadline);

  int32_t num_waiting() const;
  bool closed() const { return !CheckOpen().ok(); }
  // Why nothing is let in any more, UNAVAILABLE; OK while something is.
  absl::Status CheckOpen() const;

  // The worker's.
  Mail Take();
  void SetWaiting(int32_t taken_and_waiting);  // of the requests that were taken
  void Done(int64_t requests);
  // Sleeps until there is mail or the inbox is finished, at most until `deadline`.
  void WaitForMail(absl::Time deadline);
  // Lets the worker go once everything that was added is done and every errand was taken.
  void Shutdown();
  bool finished() const;

 private:
  int32_t NumWaiting() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void CloseLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool IsFinished() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Notify() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const int32_t capacity_;
  const Clock* const clock_;

  mutable absl::Mutex mu_;
  absl::CondVar mail_arrived_;  // for the worker
  absl::CondVar progressed_;    // for WaitUntilAllDone
  Mail mail_ ABSL_GUARDED_BY(mu_);
  int32_t taken_and_waiting_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t unfinished_ ABSL_GUARDED_BY(mu_) = 0;
  bool has_mail_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status refusal_ ABSL_GUARDED_BY(mu_);  // OK until closed
  bool shut_down_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace peerage
