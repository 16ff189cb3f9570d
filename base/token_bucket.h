#pragma once

#include <algorithm>

#include "absl/time/time.h"

namespace peerage {

// How often something may happen: so many times at once, and that many again as time goes by. Time
// that goes back gives nothing.
//
// Threads: none.
class TokenBucket {
 public:
  struct Limits {
    double at_once = 0;
    double per_second = 0;
  };

  // Full.
  TokenBucket(Limits limits, absl::Time now) : limits_(limits), left_(limits.at_once), then_(now) {}

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

  // Takes it, or says when there is enough. What costs more than may happen at once is let in when
  // the bucket is full and leaves a debt, so that everything fits at some time.
  absl::Duration TakeOrWait(double cost, absl::Time now) {
    Refill(now);
    const double missing = std::min(cost, limits_.at_once) - left_;
    if (missing > kRounding) return absl::Seconds(missing / limits_.per_second);
    left_ -= cost;
    return absl::ZeroDuration();
  }

  // Whether it may happen so many times now.
  bool Has(double times, absl::Time now) {
    Refill(now);
    return left_ >= times;
  }
  // Whether as much is left as ever is.
  bool IsWhole(absl::Time now) { return Has(limits_.at_once, now); }
  // It happens so many times, even if fewer are left: the next ones have to wait for that.
  void TakeInAdvance(double times) { left_ -= times; }

  // So many times more, up to what is allowed at once.
  void Give(double times) { left_ = std::min(left_ + times, limits_.at_once); }

  // From the next time on, what has gone by since the last one included.
  void SetLimits(Limits limits) { limits_ = limits; }

 private:
  static constexpr double kRounding = 1e-6;

  void Refill(absl::Time now) {
    if (now <= then_) return;
    Give(absl::ToDoubleSeconds(now - then_) * limits_.per_second);
    then_ = now;
  }

  Limits limits_;
  double left_;
  absl::Time then_;
};

}  // namespace peerage
