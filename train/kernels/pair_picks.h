// The best pairs of sub-keys of many queries at once: a lane of a vector is a query, and all lanes
// are sorted by the same network of comparisons, without a branch. For lists as short as PEER's.
#pragma once

#include <cstdint>

namespace peerage::kernels {

inline constexpr int64_t kMaxPairPicks = 16;
inline constexpr int64_t kMaxPairKeys = 1024;  // a half's

// Of each query the k best sums scores[0][i] + scores[1][j] of the `listed` best of each half,
// whose id is i * n + j: exactly what BestOf and BestSums find (product_key_sums.h), but for the
// sign of zeros.
struct PairPicksArgs {
  int64_t n = 0;                // sub-keys of a half, at most kMaxPairKeys
  int64_t listed = 0;           // 1..min(n, kMaxPairPicks)
  int64_t k = 0;                // 1..min(listed^2, kMaxPairPicks)
  int64_t queries = 0;          // n * queries is below 2^31
  const float* scores[2] = {};  // [n][queries]: those of one sub-key side by side
  float* sums = nullptr;        // query q at [q * stride], best first
  int64_t* ids = nullptr;       // likewise
  int64_t stride = 0;
};

// Whether this CPU does it faster than by sorting every query alone.
bool PairPicksAreFast();
void PairPicks(const PairPicksArgs& args);

}  // namespace peerage::kernels
