#pragma once

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace peerage {

// The engine's only source of time. Monotonic: Now() never goes back, whatever the system clock
// does. Safe from many threads.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual absl::Time Now() const = 0;
  // Waits until `signal` is given, or at most until that time. `mu` is held before and after.
  virtual void Wait(absl::CondVar& signal, absl::Mutex& mu, absl::Time until) const;

  // The process's clock: the steady clock, anchored once to the system's.
  static const Clock& Real();
};

}  // namespace peerage
