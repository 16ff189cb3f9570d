#pragma once

#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/engine/clock.h"
#include "server/engine/replica.h"

namespace peerage {

// Ends steps that take as long as a timeout (Replica::EndStepBegunBy). It sleeps until the first
// step that runs may be late, or for one timeout while none runs: none that begins meanwhile can be
// late before that.
//
// Threads: safe from many.
class Watchdog {
 public:
  // Clock and replicas must outlive the watchdog.
  Watchdog(const Clock* clock, absl::Duration timeout, std::vector<Replica*> replicas);
  ~Watchdog();

  // Looks at the clock again.
  void Wake();

 private:
  void Run();
  // The next time at which one may be late.
  absl::Time EndLateSteps();
  bool SleepUntil(absl::Time time);

  const Clock* const clock_;
  const absl::Duration timeout_;
  const std::vector<Replica*> replicas_;

  absl::Mutex mu_;
  absl::CondVar woken_;
  bool wakes_ ABSL_GUARDED_BY(mu_) = false;
  bool ends_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace peerage
