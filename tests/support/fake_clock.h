#pragma once

#include <list>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/engine/clock.h"

namespace peerage {

// Time moves when a test says so. Who waits with Wait is woken by it; who waits otherwise is not
// told: call Engine::Wake afterwards.
//
// Threads: safe from many.
class FakeClock final : public Clock {
 public:
  absl::Time Now() const override {
    absl::MutexLock lock(&mu_);
    return now_;
  }

  void Wait(absl::CondVar& signal, absl::Mutex& mu, absl::Time until) const override {
    std::list<Sleeper>::iterator self;
    {
      absl::MutexLock lock(&mu_);
      if (until <= now_) return;
      self = sleepers_.insert(sleepers_.end(), {&signal, &mu, until});
    }
    signal.Wait(&mu);
    absl::MutexLock lock(&mu_);
    sleepers_.erase(self);
  }

  void Advance(absl::Duration duration) {
    for (const Sleeper& sleeper : Pass(duration)) {
      absl::MutexLock lock(sleeper.mu);  // it sleeps by now
      sleeper.signal->SignalAll();
    }
  }

  // Waits until somebody sleeps, and nobody who should be awake.
  void AwaitSleeper() {
    absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(this, &FakeClock::SleepsOnly));
  }

 private:
  struct Sleeper {
    absl::CondVar* signal = nullptr;
    absl::Mutex* mu = nullptr;
    absl::Time until;
  };

  // Those whose time has come.
  std::vector<Sleeper> Pass(absl::Duration duration) {
    absl::MutexLock lock(&mu_);
    now_ += duration;
    std::vector<Sleeper> due;
    for (const Sleeper& sleeper : sleepers_) {
      if (sleeper.until <= now_) due.push_back(sleeper);
    }
    return due;
  }
  bool SleepsOnly() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    for (const Sleeper& sleeper : sleepers_) {
      if (sleeper.until <= now_) return false;
    }
    return !sleepers_.empty();
  }

  mutable absl::Mutex mu_;
  absl::Time now_ ABSL_GUARDED_BY(mu_) = absl::FromUnixSeconds(1'000'000);
  mutable std::list<Sleeper> sleepers_ ABSL_GUARDED_BY(mu_);
};

}  // namespace peerage
