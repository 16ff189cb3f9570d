#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <span>

#include "model/kernels/product_keys.h"

namespace peerage::kernels {

struct Scored {
  float value = 0;
  uint32_t id = 0;
  uint32_t source = 0;  // the caller's; no part of the order
};

// The order of product_keys.h: higher value, then lower id; NaN after every number.
inline bool Before(const Scored& a, const Scored& b) {
  const bool a_is_nan = std::isnan(a.value), b_is_nan = std::isnan(b.value);
  if (a_is_nan != b_is_nan) return b_is_nan;
  if (!a_is_nan && a.value != b.value) return a.value > b.value;
  return a.id < b.id;
}

// Keeps the k best of any number of offers, whatever their values and order: what the fast kernels
// fall back to. A heap with the worst on top.
class BestK {
 public:
  explicit BestK(int k) : k_(k) {}

  void Offer(const Scored& scored) {
    if (size_ == k_) {
      if (!Before(scored, kept_[0])) return;
      std::pop_heap(kept_.begin(), kept_.begin() + size_--, Before);
    }
    kept_[size_++] = scored;
    std::push_heap(kept_.begin(), kept_.begin() + size_, Before);
  }

  // Best first. Ends the offers.
  std::span<const Scored> Sort() {
    std::sort_heap(kept_.begin(), kept_.begin() + size_, Before);
    return {kept_.data(), static_cast<size_t>(size_)};
  }

 private:
  const int k_;
  int size_ = 0;
  std::array<Scored, kMaxTopK> kept_;
};

}  // namespace peerage::kernels
