#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "train/kernels/pair_picks.h"
#include "train/kernels/product_key_sums.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "train/kernels/pair_picks_cpu.cc"
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4)
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "model/kernels/vector_math-inl.h"

#ifndef PEERAGE_TRAIN_KERNELS_PAIR_PICKS_ONCE_
#define PEERAGE_TRAIN_KERNELS_PAIR_PICKS_ONCE_
namespace peerage::kernels {
namespace {

constexpr int kListed = kMaxPairPicks;

struct Comparison {
  uint8_t a = 0;
  uint8_t b = 0;
};

// Batcher's odd-even merge sort (Knuth, The Art of Computer Programming 3, 5.2.2, algorithm M).
constexpr int kComparisons = 63;
constexpr std::array<Comparison, kComparisons> MakeSortingNetwork() {
  std::array<Comparison, kComparisons> network = {};
  int count = 0;
  for (int p = kListed / 2; p > 0; p /= 2) {
    for (int q = kListed / 2, r = 0, d = p; d > 0; d = q - p, q /= 2, r = p) {
      for (int i = 0; i + d < kListed; ++i) {
        if ((i & p) != r) continue;
        network[count++] = {static_cast<uint8_t>(i), static_cast<uint8_t>(i + d)};
      }
      if (q == p) break;
    }
  }
  return network;
}
constexpr std::array<Comparison, kComparisons> kSortingNetwork = MakeSortingNetwork();

// Pairs of places in sorted lists that can be among the best 16: (i + 1)(j + 1) - 1 others are at
// least as good. Filled up to whole lists by places that are none.
constexpr int kPairs = 64;
constexpr std::array<Comparison, kPairs> MakePairs() {
  std::array<Comparison, kPairs> pairs = {};
  int count = 0;
  for (int i = 0; i < kListed; ++i) {
    for (int j = 0; (i + 1) * (j + 1) <= kListed; ++j) {
      pairs[count++] = {static_cast<uint8_t>(i), static_cast<uint8_t>(j)};
    }
  }
  while (count < kPairs) pairs[count++] = {kListed, kListed};
  return pairs;
}
constexpr std::array<Comparison, kPairs> kPairsOfPlaces = MakePairs();

}  // namespace
}  // namespace peerage::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace peerage::kernels {
namespace HWY_NAMESPACE {
namespace {

#if HWY_TARGET <= HWY_AVX3

// A number as one lane: the score's bits such that greater ones are greater, and below them the
// complement of its id. 0 is less than all, a NaN less than all other scores.
using Key = hn::ScalableTag<uint64_t>;
using VK = hn::Vec<Key>;
using Id = hn::Rebind<uint32_t, Key>;
using VI = hn::Vec<Id>;
using Score = hn::Rebind<float, Key>;
using VS = hn::Vec<Score>;

constexpr int kQueries = HWY_LANES(uint64_t);

HWY_INLINE VK Pack(VS score, VI id) {
  const Score ds;
  const Id di;
  const hn::RebindToSigned<Id> dsigned;
  score = hn::Add(score, hn::Zero(ds));  // -0 is 0
  const VI bits = hn::BitCast(di, score);
  const VI negative = hn::BitCast(di, hn::ShiftRight<31>(hn::BitCast(dsigned, bits)));
  const VI ordered = hn::Xor(bits, hn::Or(negative, hn::Set(di, 0x80000000u)));
  const VI number = hn::IfThenZeroElse(hn::RebindMask(di, hn::IsNaN(score)), ordered);
  const Key dk;
  return hn::Or(hn::ShiftLeft<32>(hn::PromoteTo(dk, number)), hn::PromoteTo(dk, hn::Not(id)));
}
HWY_INLINE VI IdOf(VK key) { return hn::Not(hn::TruncateTo(Id(), key)); }
HWY_INLINE VS ScoreOf(VK key) {
  const Id di;
  const hn::RebindToSigned<Id> dsigned;
  const VI ordered = hn::TruncateTo(di, hn::ShiftRight<32>(key));
  const VI positive = hn::BitCast(di, hn::ShiftRight<31>(hn::BitCast(dsigned, ordered)));
  return hn::BitCast(Score(),
                     hn::Xor(ordered, hn::Or(hn::Not(positive), hn::Set(di, 0x80000000u))));
}

// The greater one first, in every lane.
HWY_INLINE void Order(VK& a, VK& b) {
  const VK greater = hn::Max(a, b);
  b = hn::Min(a, b);
  a = greater;
}

template <size_t... kI>
HWY_INLINE void SortBy(VK* keys, std::index_sequence<kI...>) {
  (Order(keys[kSortingNetwork[kI].a], keys[kSortingNetwork[kI].b]), ...);
}
HWY_INLINE void Sort(VK* keys) { SortBy(keys, std::make_index_sequence<kComparisons>()); }

// The best of two sorted lists, sorted, into the first.
HWY_INLINE void Merge(VK* best, const VK* more) {
  PEERAGE_UNROLL for (int i = 0; i < kListed; ++i) {
    best[i] = hn::Max(best[i], more[kListed - 1 - i]);
  }
  PEERAGE_UNROLL for (int i = 0; i < 8; ++i) Order(best[i], best[i + 8]);
  PEERAGE_UNROLL for (int i = 0; i < 16; i += 8) {
    PEERAGE_UNROLL for (int j = i; j < i + 4; ++j) Order(best[j], best[j + 4]);
  }
  PEERAGE_UNROLL for (int i = 0; i < 16; i += 4) {
    Order(best[i], best[i + 2]);
    Order(best[i + 1], best[i + 3]);
  }
  PEERAGE_UNROLL for (int i = 0; i < 16; i += 2) Order(best[i], best[i + 1]);
}

// Some queries, of which `count` exist: their best of a half, as scores and ids.
struct Lists {
  VS scores[kListed];
  VI ids[kListed];
};

HWY_INLINE void LoadGroup(const PairPicksArgs& args, const float* scores, int64_t first, int count,
                          VK* keys) {
  PEERAGE_UNROLL for (int i = 0; i < kListed; ++i) {
    const int64_t row = first + i;
    keys[i] = hn::Zero(Key());
    if (row >= args.n) continue;
    const VS of_row = LoadFirst(Score(), scores + row * args.queries, count);
    keys[i] = Pack(of_row, hn::Set(Id(), static_cast<uint32_t>(row)));
  }
}

HWY_INLINE Lists BestOfHalf(const PairPicksArgs& args, const float* scores, int count) {
  VK best[kListed], more[kListed];
  LoadGroup(args, scores, 0, count, best);
  Sort(best);
  for (int64_t first = kListed; first < args.n; first += kListed) {
    LoadGroup(args, scores, first, count, more);
    Sort(more);
    Merge(best, more);
  }
  Lists lists;
  PEERAGE_UNROLL for (int i = 0; i < kListed; ++i) {
    lists.scores[i] = ScoreOf(best[i]);
    lists.ids[i] = IdOf(best[i]);
  }
  return lists;
}

HWY_INLINE VK KeyOfPair(const PairPicksArgs& args, const Lists* lists, int i, int j) {
  const VI n = hn::Set(Id(), static_cast<uint32_t>(args.n));
  return Pack(hn::Add(lists[0].scores[i], lists[1].scores[j]),
              hn::Add(hn::Mul(lists[0].ids[i], n), lists[1].ids[j]));
}

HWY_INLINE void BestPairs(const PairPicksArgs& args, const Lists* lists, VK* best) {
  for (int first = 0; first < kPairs; first += kListed) {
    VK keys[kListed];
    PEERAGE_UNROLL for (int p = 0; p < kListed; ++p) {
      const auto [i, j] = kPairsOfPlaces[first + p];
      keys[p] = hn::Zero(Key());
      if (i < args.listed && j < args.listed) keys[p] = KeyOfPair(args, lists, i, j);
    }
    Sort(keys);
    if (first == 0) {
      PEERAGE_UNROLL for (int p = 0; p < kListed; ++p) best[p] = keys[p];
    } else {
      Merge(best, keys);
    }
  }
}

// Lanes whose best k sums may be others than those of the pairs above: a pair that was left out has
// the same sum as the last one, and perhaps a lower id; or sums are not numbers.
HWY_INLINE hn::Mask<Score> Doubtful(const PairPicksArgs& args, const Lists* lists, VK last) {
  const Score d;
  const VS least = ScoreOf(last);
  auto doubtful = hn::Not(hn::IsFinite(least));
  for (int i = 0; i < args.listed; ++i) {
    doubtful = hn::Or(doubtful, hn::Not(hn::IsFinite(lists[0].scores[i])));
    doubtful = hn::Or(doubtful, hn::Not(hn::IsFinite(lists[1].scores[i])));
    const int j = kListed / (i + 1);
    if (j >= args.listed) continue;
    const VS left_out = hn::Add(lists[0].scores[i], lists[1].scores[j]);
    doubtful = hn::Or(doubtful, hn::Ge(left_out, least));
  }
  return doubtful;
}

void SortAlone(const PairPicksArgs& args, const Lists* lists, int lane, float* sums, int64_t* ids) {
  float values[2 * kListed];
  int32_t keys[2 * kListed];
  HWY_ALIGN float scores[kQueries];
  HWY_ALIGN uint32_t of_lane[kQueries];
  for (int half = 0; half < 2; ++half) {
    for (int64_t i = 0; i < args.listed; ++i) {
      hn::Store(lists[half].scores[i], Score(), scores);
      hn::Store(lists[half].ids[i], Id(), of_lane);
      values[half * args.listed + i] = scores[lane];
      keys[half * args.listed + i] = static_cast<int32_t>(of_lane[lane]);
    }
  }
  BestSums({.n = args.n, .listed = args.listed, .k = args.k, .rows = 1}, values, keys, {sums, ids});
}

void PicksOf(const PairPicksArgs& args, int64_t first, int count) {
  const Lists lists[2] = {BestOfHalf(args, args.scores[0] + first, count),
                          BestOfHalf(args, args.scores[1] + first, count)};
  VK best[kListed];
  BestPairs(args, lists, best);
  HWY_ALIGN float sums[kListed][kQueries];
  HWY_ALIGN uint32_t ids[kListed][kQueries];
  for (int r = 0; r < kListed; ++r) {
    hn::Store(ScoreOf(best[r]), Score(), sums[r]);
    hn::Store(IdOf(best[r]), Id(), ids[r]);
  }
  uint8_t doubtful[8] = {};
  hn::StoreMaskBits(Score(), Doubtful(args, lists, best[args.k - 1]), doubtful);
  for (int lane = 0; lane < count; ++lane) {
    const int64_t out = (first + lane) * args.stride;
    for (int64_t r = 0; r < args.k; ++r) {
      args.sums[out + r] = sums[r][lane];
      args.ids[out + r] = ids[r][lane];
    }
    if ((doubtful[0] >> lane & 1) != 0) {
      SortAlone(args, lists, lane, args.sums + out, args.ids + out);
    }
  }
}

#endif

}  // namespace

void PairPicksTarget(const PairPicksArgs& args) {
#if HWY_TARGET <= HWY_AVX3
  for (int64_t first = 0; first < args.queries; first += kQueries) {
    PicksOf(args, first, static_cast<int>(std::min<int64_t>(kQueries, args.queries - first)));
  }
#endif
}

bool AreFastTarget() { return HWY_TARGET <= HWY_AVX3; }

}  // namespace HWY_NAMESPACE
}  // namespace peerage::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace peerage::kernels {
namespace {

// One query after the other.
void PicksAlone(const PairPicksArgs& args) {
  std::vector<float> row(args.n), values(2 * args.listed);
  std::vector<int32_t> ids(2 * args.listed);
  for (int64_t q = 0; q < args.queries; ++q) {
    for (int half = 0; half < 2; ++half) {
      for (int64_t i = 0; i < args.n; ++i) row[i] = args.scores[half][i * args.queries + q];
      BestOf({row.data(), args.n, args.listed},
             {values.data() + half * args.listed, ids.data() + half * args.listed});
    }
    BestSums({.n = args.n, .listed = args.listed, .k = args.k, .rows = 1}, values.data(),
             ids.data(), {args.sums + q * args.stride, args.ids + q * args.stride});
  }
}

}  // namespace

HWY_EXPORT(PairPicksTarget);
HWY_EXPORT(AreFastTarget);

bool PairPicksAreFast() { return HWY_DYNAMIC_DISPATCH(AreFastTarget)(); }

void PairPicks(const PairPicksArgs& args) {
  if (!PairPicksAreFast()) return PicksAlone(args);
  HWY_DYNAMIC_DISPATCH(PairPicksTarget)(args);
}

}  // namespace peerage::kernels
#endif
