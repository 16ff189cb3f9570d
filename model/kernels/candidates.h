// The few entries of a row that can be among its k best, and their order.
#pragma once

#include <cstdint>

#include "model/kernels/product_keys.h"

namespace peerage::kernels {

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
