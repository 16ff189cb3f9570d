#pragma once

#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/engine/clock.h"
#include "server/engine/replica.h"

namespace peerage {

// Ends steps that take as long as a timeout (Replica::EndStepBegunBy). It looks kLooks times in a
// timeout, and when the first step that runs may be late. When it comes late itself, by as much as
// from one look to the next, the process was stopped, or its machine was: no step could go on
// meanwhile, so all that run have their time anew.
//
// Threads: one; it has one of its own.
class Watchdog {
 public:
  static constexpr int kLooks = 8;

  // Clock and replicas must outlive the watchdog.
  Watchdog(const Clock* clock, absl::Duration timeout, std::vector<Replica*> replicas);
  ~Watchdog();

 private:
  void Run();
  // The next time at which one may be late.
  absl::Time EndLateSteps();
  // False when it is to end.
  bool SleepUntil(absl::Time time);

  const Clock* const clock_;
  const absl::Duration timeout_;
  const std::vector<Replica*> replicas_;

  // Its thread's.
  absl::Time next_look_ = absl::InfiniteFuture();
  absl::Time resumed_ = absl::InfinitePast();  // since when the process runs without a pause

  absl::Mutex mu_;
  absl::CondVar end_;
  bool ends_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace peerage
