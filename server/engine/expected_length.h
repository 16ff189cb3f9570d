#pragma once

#include <cmath>
#include <cstdint>

namespace peerage {

// How many tokens a candidate generates before it ends, going by those that ended of late: a mean
// in which the last 32 count for most (an exponential average). Before the first one, as many as it
// may.
//
// Threads: none.
class ExpectedLength {
 public:
  void Add(int64_t tokens) {
    const auto length = static_cast<double>(tokens);
    mean_ = mean_ < 0 ? length : mean_ + (length - mean_) / 32;
  }

  int64_t tokens() const { return mean_ < 0 ? INT32_MAX : static_cast<int64_t>(std::ceil(mean_)); }

 private:
  double mean_ = -1;  // not known
};

}  // namespace peerage
