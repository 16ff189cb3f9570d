#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "server/engine/clock.h"
#include "server/engine/request.h"
#include "server/engine/task.h"
#include "server/engine/waiting_counts.h"

namespace peerage {

// What came since the worker last looked.
struct Mail {
  std::vector<std::unique_ptr<Task>> arrivals;
  std::vector<RequestHandle> cancelled;
  absl::Status end_all;  // not OK: everything ends with it, now and whatever comes later
  WorkerTask errand;     // or none
};

// How much is to be done: what was added and has not ended.
struct InboxLoad {
  int64_t requests = 0;
  int64_t tokens = 0;  // known when they came (Work::tokens)

  InboxLoad& operator+=(const InboxLoad& more) {
    requests += more.requests;
    tokens += more.tokens;
    return *this;
  }
  InboxLoad& operator-=(const InboxLoad& less) {
    requests -= less.requests;
    tokens -= less.tokens;
    return *this;
  }
};

inline InboxLoad LoadOf(const Task& task) { return {1, task.work.tokens()}; }

// How much may wait. Beyond that, a tenant of which less waits than an equal part may have up to
// its equal part, as long as no more than twice as much waits in all: so whoever fills the queue
// fills it for himself.
struct InboxLimits {
  int32_t requests = 256;
  int64_t prompt_tokens = INT64_MAX;  // of all of them; one alone may have more
};

// Bounded hand-over of requests from many threads to one worker, together with everything else that
// wakes the worker. The worker says when a request waits no more, and when it has ended.
//
// Threads: safe from many threads; the methods of the worker are for one.
class Inbox {
 public:
  // `clock` must outlive the inbox.
  Inbox(const InboxLimits& limits, const Clock* clock)
      : limits_(limits), clock_(clock), drain_(clock->Now()) {}

  // As CheckOpen says, RESOURCE_EXHAUSTED when full, with a retry delay: as long as what waits will
  // take to start, at the pace of late. The task is taken on success alone.
  absl::Status Add(std::unique_ptr<Task>&& task);
  // Requests that another inbox, or this one, had let in: they come whatever the limits are. Those
  // that were in this one before count already.
  void TakeOver(std::unique_ptr<Task> task);
  void PutBack(std::unique_ptr<Task> task);
  void Cancel(RequestHandle handle);
  // Ends everything, waiting or running, with `status`. Precondition: closed, so that nothing
  // follows.
  void EndAll(absl::Status status);
  void Wake();
  // At a turn of the worker, which begins at once when it sleeps, one errand a turn: however many
  // there are, requests go on beside them. Once accepted, an errand is run, whatever else ends.
  // UNAVAILABLE when shut down.
  absl::Status Run(WorkerTask errand);
  // TooManyErrands where kMostErrands wait already.
  absl::Status CheckErrandRoom() const;
  static constexpr size_t kMostErrands = 64;
  static absl::Status TooManyErrands();  // RESOURCE_EXHAUSTED, with a retry delay
  // No more Add. Idempotent.
  void Close();
  // Close and EndAll, with a `status` of its own for what comes later, too.
  void Fail(const absl::Status& status);
  // True once every request that was added has ended, false at `deadline`.
  bool WaitUntilAllDone(absl::Time deadline);

  InboxLoad load() const;
  int32_t num_waiting() const;
  int64_t waiting_prompt_tokens() const;  // of their prompts and contexts
  bool closed() const { return !CheckOpen().ok(); }
  // Why nothing is let in any more, UNAVAILABLE; OK while something is.
  absl::Status CheckOpen() const;

  // The worker's.
  Mail Take();
  // All but the errands, which stay, and all that was taken before: nobody waits here any more, and
  // not because anybody starts.
  Mail TakeRequests();
  // Of the requests that were taken, some wait no more, or again.
  void Count(absl::Span<const WaitingChange> changes);
  // So many have ended here, or are for another inbox.
  void Done(const InboxLoad& ended);
  // Sleeps until there is mail or the inbox is finished, at most until `deadline`.
  void WaitForMail(absl::Time deadline);
  // Lets the worker go once everything that was added is done and every errand was taken.
  void Shutdown();
  bool finished() const;

 private:
  // How fast requests cease to wait, over the last second or two, or since one last did.
  struct Drain {
    explicit Drain(absl::Time begin) : begin(begin) {}
    absl::Time begin;
    int64_t requests = 0;            // since then
    double requests_per_second = 0;  // before; 0: not known
    // So many more, while others wait.
    void Add(int64_t count, bool others_wait, absl::Time now);
  };

  absl::Status CheckRoom(const Task& task) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Duration RetryDelay() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Arrive(std::unique_ptr<Task> task) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Mail TakeRequestsLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void CloseLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool IsFinished() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Notify() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const InboxLimits limits_;
  const Clock* const clock_;

  mutable absl::Mutex mu_;
  absl::CondVar mail_arrived_;      // for the worker
  absl::CondVar progressed_;        // for WaitUntilAllDone
  Mail mail_ ABSL_GUARDED_BY(mu_);  // but errands
  std::deque<WorkerTask> errands_ ABSL_GUARDED_BY(mu_);
  WaitingCounts waiting_ ABSL_GUARDED_BY(mu_);  // taken or not
  Drain drain_ ABSL_GUARDED_BY(mu_);
  InboxLoad unfinished_ ABSL_GUARDED_BY(mu_);
  bool has_mail_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status refusal_ ABSL_GUARDED_BY(mu_);  // OK until closed
  bool shut_down_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace peerage
