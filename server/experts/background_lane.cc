#include "server/experts/background_lane.h"

#include <sys/resource.h>
#include <unistd.h>

#include <ctime>
#include <utility>

namespace peerage {

absl::Duration ThreadTime() {
  timespec time = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return absl::DurationFromTimespec(time);
}

BackgroundLane::BackgroundLane(const Clock* clock, Priority priority)
    : clock_(clock), priority_(priority), thread_([this] { Loop(); }) {}

BackgroundLane::~BackgroundLane() {
  {
    absl::MutexLock lock(&mu_);
    ending_ = true;
    changed_.Signal();
  }
  thread_.join();
}

void BackgroundLane::Run(std::function<void()> task) {
  absl::MutexLock lock(&mu_);
  ready_.push_back(std::move(task));
  changed_.Signal();
}

BackgroundLane::Timer BackgroundLane::RunAt(absl::Time when, std::function<void()> task) {
  absl::MutexLock lock(&mu_);
  const Timer timer(when, ++last_timer_);
  later_.emplace(timer, std::move(task));
  changed_.Signal();
  return timer;
}

void BackgroundLane::Forget(const Timer& timer) {
  std::function<void()> forgotten;  // what it holds may call back
  absl::MutexLock lock(&mu_);
  const auto found = later_.find(timer);
  if (found == later_.end()) return;
  forgotten = std::move(found->second);
  later_.erase(found);
}

size_t BackgroundLane::num_timers() const {
  absl::MutexLock lock(&mu_);
  return later_.size();
}

void BackgroundLane::Wake() {
  absl::MutexLock lock(&mu_);
  changed_.Signal();
}

void BackgroundLane::Loop() {
  // On Linux priorities are threads'. A failure costs nothing but the priority.
  if (priority_ == Priority::kLowest) setpriority(PRIO_PROCESS, gettid(), 19);
  while (const std::function<void()> task = Next()) task();
}

std::function<void()> BackgroundLane::Next() {
  absl::MutexLock lock(&mu_);
  while (true) {
    const absl::Duration left =
        later_.empty() ? absl::InfiniteDuration() : later_.begin()->first.first - clock_->Now();
    if (left <= absl::ZeroDuration()) {
      ready_.push_back(std::move(later_.begin()->second));
      later_.erase(later_.begin());
    }
    if (!ready_.empty()) {
      std::function<void()> task = std::move(ready_.front());
      ready_.pop_front();
      return task;
    }
    if (ending_) return nullptr;
    changed_.WaitWithTimeout(&mu_, left);
  }
}

}  // namespace peerage
