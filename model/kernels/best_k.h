// The k best of a row: their order, a heap that keeps them, and the few entries that can be among
// them.
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

  bool full() const { return size_ == k_; }
  // Of what is kept. Precondition: full.
  float worst() const { return kept_[0].value; }

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

// The few entries of a row that can be among its k best.
struct Candidates {
  static constexpr int kCapacity = 4 * kMaxTopK;
  static constexpr int kPadding = 64;  // vectors may be stored whole at the end

  alignas(64) float values[kCapacity + kPadding];
  alignas(64) uint32_t sources[kCapacity + kPadding];  // where an entry was found
  int count = 0;  // more than kCapacity: there was no room for all, the arrays are useless
};

// The candidates of scores[0, n) in order of position, when no score is wrong by more than
// `tolerance`: at least all that a true top k can hold. Fewer than k: there are NaNs. More than
// MostCandidates(k): the scores lie too close together (ties, an adversarial order).
struct FindArgs {
  const float* scores = nullptr;
  int n = 0;
  int k = 0;
  float tolerance = 0;
};
Candidates FindCandidates(const FindArgs& args);

// Sorting by counting costs the square of their number.
constexpr int MostCandidates(int k) { return k <= 16 ? 64 : 4 * k; }

inline bool Sufficient(const Candidates& c, int k) {
  return k <= c.count && c.count <= MostCandidates(k);
}

// The k best of sufficient candidates without NaN; an entry's id is its source.
void SelectBest(const Candidates& candidates, int k, float* values, int32_t* ids);

// The k best of any scores.
void SelectBestOfAll(const FindArgs& args, float* values, int32_t* ids);

}  // namespace peerage::kernels
