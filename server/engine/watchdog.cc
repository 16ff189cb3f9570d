#include "server/engine/watchdog.h"

#include <algorithm>
#include <utility>

namespace peerage {

Watchdog::Watchdog(const Clock* clock, absl::Duration timeout, std::vector<Replica*> replicas)
    : clock_(clock),
      timeout_(timeout),
      replicas_(std::move(replicas)),
      thread_([this] { Run(); }) {}

Watchdog::~Watchdog() {
  {
    absl::MutexLock lock(&mu_);
    ends_ = true;
    woken_.Signal();
  }
  thread_.join();
}

void Watchdog::Wake() {
  absl::MutexLock lock(&mu_);
  wakes_ = true;
  woken_.Signal();
}

void Watchdog::Run() {
  while (SleepUntil(EndLateSteps())) {
  }
}

absl::Time Watchdog::EndLateSteps() {
  const absl::Time now = clock_->Now();
  absl::Time next = now + timeout_;
  for (Replica* replica : replicas_) {
    replica->EndStepBegunBy(now - timeout_);
    next = std::min(next, replica->step_since() + timeout_);
  }
  return next;
}

bool Watchdog::SleepUntil(absl::Time time) {
  absl::MutexLock lock(&mu_);
  while (!wakes_ && !ends_) {
    const absl::Duration left = time - clock_->Now();
    if (left <= absl::ZeroDuration()) break;
    woken_.WaitWithTimeout(&mu_, left);
  }
  wakes_ = false;
  return !ends_;
}

}  // namespace peerage
