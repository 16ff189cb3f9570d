#pragma once

#include "absl/time/time.h"
#include "server/engine/clock.h"

namespace peerage {

// Time is what the simulation says. Threads: none.
class SteppedClock final : public Clock {
 public:
  absl::Time Now() const override { return now_; }
  void Advance(absl::Duration duration) { now_ += duration; }

 private:
  absl::Time now_ = absl::FromUnixSeconds(1'000'000);
};

}  // namespace peerage
