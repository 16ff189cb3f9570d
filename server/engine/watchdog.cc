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
    end_.Signal();
  }
  thread_.join();
}

void Watchdog::Run() {
  while (SleepUntil(EndLateSteps())) {
  }
}

absl::Time Watchdog::EndLateSteps() {
  const absl::Time now = clock_->Now();
  const absl::Duration look = timeout_ / kLooks;
  if (now - next_look_ >= look) resumed_ = now;
  next_look_ = now + look;
  for (Replica* replica : replicas_) {
    if (now - timeout_ >= resumed_) replica->EndStepBegunBy(now - timeout_);
    next_look_ = std::min(next_look_, std::max(replica->step_since(), resumed_) + timeout_);
  }
  return next_look_;
}

bool Watchdog::SleepUntil(absl::Time time) {
  absl::MutexLock lock(&mu_);
  while (!ends_ && clock_->Now() < time) clock_->Wait(end_, mu_, time);
  return !ends_;
}

}  // namespace peerage
