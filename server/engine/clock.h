#pragma once

#include "absl/time/time.h"

namespace peerage {

// The engine's only source of time. Monotonic: Now() never goes back, whatever the system clock
// does. Safe from many threads.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual absl::Time Now() const = 0;

  // The process's clock: the steady clock, anchored once to the system's.
  static const Clock& Real();
};

}  // namespace peerage
