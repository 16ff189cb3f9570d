#pragma once

#include <algorithm>

#include "absl/time/time.h"

namespace peerage {

// How often something may happen: so many times at once, and that many again as time goes by (a
// token bucket).
class Allowance {
 public:
  struct Limits {
    double at_once = 0;
    double per_second = 0;
  };

  Allowance(Limits limits, absl::Time now) : limits_(limits), left_(limits.at_once), then_(now) {}

  // Whether it may happen now. If so, it has.
  bool Take(absl::Time now) {
    Refill(now);
    if (left_ < 1) return false;
    --left_;
    return true;
  }

  // How many of so many times it may happen now. So often it has.
  int TakeUpTo(int times, absl::Time now) {
    Refill(now);
    const int taken = std::clamp(static_cast<int>(left_), 0, times);
    left_ -= taken;
    return taken;
  }

  // Whether it may happen at all now.
  bool HasAny(absl::Time now) {
    Refill(now);
    return left_ >= 1;
  }
  // Whether as much is left as ever is.
  bool IsWhole(absl::Time now) {
    Refill(now);
    return left_ >= limits_.at_once;
  }
  // It happens so many times, even if fewer are left: the next ones have to wait for that.
  void TakeInAdvance(double times) { left_ -= times; }

  // So many times more, up to what is allowed at once.
  void Give(double times) { left_ = std::min(left_ + times, limits_.at_once); }

 private:
  void Refill(absl::Time now) {
    const double seconds = absl::ToDoubleSeconds(now - then_);
    then_ = now;
    Give(std::max(seconds, 0.0) * limits_.per_second);
  }

  const Limits limits_;
  double left_;
  absl::Time then_;
};

}  // namespace peerage
