#pragma once

#include <cstdint>

namespace peerage::kernels {

// Division of numbers below 2^32 by one that is known early, without a division: the quotient is
// floor(n * m / 2^64) with m = ceil(2^64 / divisor) (Lemire, Kaser and Kurz 2019, section 3.2).
class Divisor {
 public:
  explicit Divisor(uint32_t divisor) : divisor_(divisor), m_(UINT64_MAX / divisor + 1) {}

  uint32_t Quotient(uint32_t n) const {
    if (divisor_ == 1) return n;
    const uint64_t low = n * (m_ & UINT32_MAX), high = n * (m_ >> 32);
    return static_cast<uint32_t>((high + (low >> 32)) >> 32);
  }
  uint32_t divisor() const { return divisor_; }
  uint32_t Remainder(uint32_t n) const { return n - Quotient(n) * divisor_; }

 private:
  uint32_t divisor_;
  uint64_t m_;
};

}  // namespace peerage::kernels
