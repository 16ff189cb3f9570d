#pragma once

#include <functional>
#include <thread>
#include <utility>

#include "absl/base/call_once.h"
#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"

namespace peerage {

// SIGTERM and SIGINT as events, waited for by a thread of their own: nothing runs in a signal
// handler. The first one ends Wait; it ends the process with exit code 0 while nothing is served
// yet. A second one ends the process at once, as if the signal had not been caught. SIGHUP ends
// nothing.
class ShutdownSignals {
 public:
  // Blocks the signals. Make it before any other thread starts, so that all of them inherit that.
  ShutdownSignals();

  ShutdownSignals(const ShutdownSignals&) = delete;
  ShutdownSignals& operator=(const ShutdownSignals&) = delete;

  // From now on there is something to finish before the process ends.
  void SetServing() { serving_.Notify(); }

  // From now on SIGHUP calls this, on the thread that listens; nullptr: nothing. Returns when no
  // call of what was there before runs any more.
  void OnHangUp(std::function<void()> hang_up) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    hang_up_ = std::move(hang_up);
  }

  // Returns at the first signal, or once End was called.
  void Wait() const { ended_.WaitForNotification(); }

  // Ends Wait without a signal; the first one that follows still is the first. From any thread.
  void End() {
    absl::call_once(end_, [this] { ended_.Notify(); });
  }

 private:
  void Listen();
  // The next signal that is to end something.
  int AwaitEnd() ABSL_LOCKS_EXCLUDED(mu_);

  absl::Mutex mu_;
  std::function<void()> hang_up_ ABSL_GUARDED_BY(mu_);
  absl::Notification serving_;
  absl::once_flag end_;
  absl::Notification ended_;
};

}  // namespace peerage
