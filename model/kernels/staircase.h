// Pairs of positions in two lists, each sorted best first.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>

#include "model/kernels/product_keys.h"

namespace peerage::kernels {

struct Pair {
  int i = 0;
  int j = 0;
};
// A pair in one number.
constexpr uint32_t PairCode(Pair p) { return static_cast<uint32_t>(p.i * kMaxTopK + p.j); }
constexpr Pair PairOf(uint32_t code) {
  return {static_cast<int>(code / kMaxTopK), static_cast<int>(code % kMaxTopK)};
}

// Every pair (i', j') with i' <= i and j' <= j has a sum no smaller than (i, j), and these are
// (i + 1)(j + 1). The staircase of k: pairs of which there are at most k, 50 of 256 for k = 16. The
// k best are among them, but for ties.
class Staircase {
 public:
  // Of `listed` positions in each list.
  Staircase(int k, int listed) {
    for (int i = 0; i < listed && i <= k / (i + 1); ++i) {
      reached_.AddBoth({i, (k + i) / (i + 1) - 1}, listed);
      outside_.AddBoth({i, k / (i + 1)}, listed);
      ends_[steps_++] = std::min(k / (i + 1), listed);
    }
  }

  // Rows (i, i.. end - 1) and columns (i + 1.. end - 1, i) for i < steps() make up the staircase.
  int steps() const { return steps_; }
  int end(int i) const { return ends_[i]; }

  // Pairs whose sums k pairs reach: a bound from below.
  std::span<const Pair> reached() const { return reached_.pairs(); }
  // One of these has the largest sum outside the staircase.
  std::span<const Pair> outside() const { return outside_.pairs(); }

 private:
  static constexpr int kMaxSteps = 12;  // the root of kMaxTopK
  class Corners {
   public:
    void AddBoth(Pair p, int listed) {
      if (p.i >= listed || p.j >= listed) return;
      pairs_[size_++] = p;
      pairs_[size_++] = {p.j, p.i};
    }
    std::span<const Pair> pairs() const { return {pairs_, static_cast<size_t>(size_)}; }

   private:
    Pair pairs_[2 * kMaxSteps];
    int size_ = 0;
  };

  Corners reached_, outside_;
  int ends_[kMaxSteps];
  int steps_ = 0;
};

// What CombineHalves has of one row.
class Halves {
 public:
  Halves(const CombineArgs& args, int row) : n_(args.n), last_(args.listed - 1) {
    for (int half = 0; half < 2; ++half) {
      values_[half] = args.values + row * args.stride + half * args.half_stride;
      ids_[half] = args.ids + row * args.stride + half * args.half_stride;
    }
  }

  const float* values(int half) const { return values_[half]; }
  int listed() const { return last_ + 1; }
  float Sum(Pair p) const { return values_[0][p.i] + values_[1][p.j]; }
  uint32_t Expert(Pair p) const {
    return static_cast<uint32_t>(ids_[0][p.i]) * n_ + static_cast<uint32_t>(ids_[1][p.j]);
  }

  float LargestSum(std::span<const Pair> pairs) const {
    float largest = -std::numeric_limits<float>::infinity();
    for (const Pair p : pairs) largest = std::max(largest, Sum(p));
    return largest;
  }

  // Neither infinities nor NaN: the lists are sorted, so their ends tell.
  bool Finite() const {
    constexpr float kMost = std::numeric_limits<float>::max();
    return std::max(values_[0][0], values_[1][0]) <= kMost && values_[0][last_] >= -kMost &&
           values_[1][last_] >= -kMost;
  }

 private:
  const float* values_[2];
  const int32_t* ids_[2];
  uint32_t n_;
  int last_;
};

}  // namespace peerage::kernels
