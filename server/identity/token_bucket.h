#pragma once

#include <algorithm>

#include "absl/time/time.h"

namespace peerage {

// So much a second, a second's worth at once. Threads: none.
class TokenBucket {
 public:
  // Takes it, or says when there is enough. What costs more than a second's worth is let in when
  // the bucket is full and leaves a debt, so that everything fits at some time.
  absl::Duration Take(double cost, double per_second, absl::Time now) {
    const double capacity = std::max(1.0, per_second);
    if (now > filled_) {
      level_ = std::min(capacity, level_ + absl::ToDoubleSeconds(now - filled_) * per_second);
      filled_ = now;
    }
    const double missing = std::min(cost, capacity) - level_;
    if (missing > kRounding) return absl::Seconds(missing / per_second);
    level_ -= cost;
    return absl::ZeroDuration();
  }

 private:
  static constexpr double kRounding = 1e-6;

  double level_ = 0;
  absl::Time filled_ = absl::InfinitePast();
};

}  // namespace peerage
