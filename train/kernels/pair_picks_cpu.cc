#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
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

// One query by itself, by comparing all its sums.
void PickAlone(const PairPicksArgs& args, int64_t query) {
  std::vector<float> row(args.n), values(2 * args.listed);
  std::vector<int32_t> ids(2 * args.listed);
  for (int half = 0; half < 2; ++half) {
    for (int64_t i = 0; i < args.n; ++i) row[i] = args.scores[half][i * args.queries + query];
    BestOf({row.data(), args.n, args.listed},
           {values.data() + half * args.listed, ids.data() + half * args.listed});
  }
  BestSums({.n = args.n, .listed = args.listed, .k = args.k, .rows = 1}, values.data(), ids.data(),
           {args.sums + query * args.stride, args.ids + query * args.stride});
}

}  // namespace
}  // namespace peerage::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace peerage::kernels {
namespace HWY_NAMESPACE {
namespace {

#if HWY_TARGET <= HWY_AVX3

using Score = hn::ScalableTag<float>;
using VS = hn::Vec<Score>;
using MS = hn::Mask<Score>;
using Bits = hn::RebindToUnsigned<Score>;
using VB = hn::Vec<Bits>;

constexpr int kQueries = HWY_LANES(float);

// Scores whose last bits are a number instead, such as a sub-key's: sorted, they take it along.
// Where only these bits differ, nothing says which score is greater, and the query is sorted alone.
class Packing {
 public:
  explicit HWY_INLINE Packing(int64_t numbers)
      : numbers_(hn::Set(Bits(), std::bit_ceil(static_cast<uint32_t>(numbers)) - 1)) {}

  HWY_INLINE VS Pack(VS score, int64_t number) const {
    const VS sum = hn::Add(score, hn::Zero(Score()));  // -0 is 0
    return hn::BitCast(Score(), hn::Or(hn::AndNot(numbers_, hn::BitCast(Bits(), sum)),
                                       hn::Set(Bits(), static_cast<uint32_t>(number))));
  }
  HWY_INLINE VB NumberOf(VS key) const { return hn::And(hn::BitCast(Bits(), key), numbers_); }

  HWY_INLINE MS Alike(VS a, VS b) const {
    const VB differ = hn::BitCast(Bits(), hn::Xor(a, b));
    return hn::RebindMask(Score(), hn::Eq(hn::AndNot(numbers_, differ), hn::Zero(Bits())));
  }

 private:
  VB numbers_;
};

// Zeros and subnormal numbers, of which a mode of the CPU may make zeros while they are compared.
HWY_INLINE MS IsTiny(VS key) {
  const VB exponent = hn::And(hn::BitCast(Bits(), key), hn::Set(Bits(), 0x7f800000u));
  return hn::RebindMask(Score(), hn::Eq(exponent, hn::Zero(Bits())));
}

// The greater one first, in every lane.
HWY_INLINE void Order(VS& a, VS& b) {
  const VS greater = hn::Max(a, b);
  b = hn::Min(a, b);
  a = greater;
}

template <size_t... kI>
HWY_INLINE void SortBy(VS* keys, std::index_sequence<kI...>) {
  (Order(keys[kSortingNetwork[kI].a], keys[kSortingNetwork[kI].b]), ...);
}

// The best of what was added, sorted, and the best of what is not among them.
struct Best {
  explicit HWY_INLINE Best(VS none) : lost(none) {
    PEERAGE_UNROLL for (int i = 0; i < kListed; ++i) keys[i] = none;
  }

  // Changes `more` [kListed].
  HWY_INLINE void Add(VS* more) {
    SortBy(more, std::make_index_sequence<kComparisons>());
    PEERAGE_UNROLL for (int i = 0; i < kListed; ++i) {
      const VS other = more[kListed - 1 - i];
      lost = hn::Max(lost, hn::Min(keys[i], other));
      keys[i] = hn::Max(keys[i], other);
    }
    PEERAGE_UNROLL for (int i = 0; i < 8; ++i) Order(keys[i], keys[i + 8]);
    PEERAGE_UNROLL for (int i = 0; i < 16; i += 8) {
      PEERAGE_UNROLL for (int j = i; j < i + 4; ++j) Order(keys[j], keys[j + 4]);
    }
    PEERAGE_UNROLL for (int i = 0; i < 16; i += 4) {
      Order(keys[i], keys[i + 2]);
      Order(keys[i + 1], keys[i + 3]);
    }
    PEERAGE_UNROLL for (int i = 0; i < 16; i += 2) Order(keys[i], keys[i + 1]);
  }

  // Whether the first k may be others, or others' places theirs.
  HWY_INLINE MS AreDoubtful(const Packing& packing, int64_t k) const {
    MS doubtful = hn::FirstN(Score(), 0);
    for (int64_t i = 0; i < k; ++i) {
      const VS next = i + 1 < kListed ? keys[i + 1] : lost;
      doubtful = hn::Or(doubtful, hn::Or(IsTiny(keys[i]), packing.Alike(keys[i], next)));
    }
    return doubtful;
  }

  VS keys[kListed];
  VS lost;
};

HWY_INLINE VS NoKey() { return hn::Set(Score(), std::numeric_limits<float>::lowest()); }

// Some queries, of which `count` exist: their best of a half.
struct List {
  VS scores[kListed];
  VB ids[kListed];
};

// Adds 0 * score: the sum stays 0 as long as all are finite.
HWY_INLINE VS AddNothing(VS score, VS sum) {
  return FusedMulAdd(Score(), score, hn::Zero(Score()), sum);
}

HWY_INLINE List BestOfHalf(const PairPicksArgs& args, const float* scores, int count,
                           MS* doubtful) {
  const Packing packing(args.n);
  Best best(NoKey());
  VS nothing = hn::Zero(Score());
  for (int64_t first = 0; first < args.n; first += kListed) {
    VS more[kListed];
    PEERAGE_UNROLL for (int i = 0; i < kListed; ++i) {
      more[i] = NoKey();
      if (first + i >= args.n) continue;
      const VS score = LoadFirst(Score(), scores + (first + i) * args.queries, count);
      nothing = AddNothing(score, nothing);
      more[i] = packing.Pack(score, first + i);
    }
    best.Add(more);
  }
  *doubtful = hn::Or(*doubtful, hn::Or(best.AreDoubtful(packing, args.listed),
                                       hn::Not(hn::Eq(nothing, hn::Zero(Score())))));
  // The scores themselves.
  const hn::RebindToSigned<Bits> index;
  const auto query = hn::Min(hn::Iota(index, 0), hn::Set(index, count - 1));
  const auto queries = hn::Set(index, static_cast<int32_t>(args.queries));
  List list;
  for (int64_t i = 0; i < args.listed; ++i) {
    list.ids[i] =
        hn::Min(packing.NumberOf(best.keys[i]), hn::Set(Bits(), static_cast<uint32_t>(args.n - 1)));
    list.scores[i] = hn::GatherIndex(
        Score(), scores, hn::Add(hn::Mul(hn::BitCast(index, list.ids[i]), queries), query));
  }
  return list;
}

// Keys of the best pairs of places.
HWY_INLINE Best BestPairs(const PairPicksArgs& args, const Packing& packing, const List* lists,
                          MS* doubtful) {
  Best best(NoKey());
  VS nothing = hn::Zero(Score());
  for (int first = 0; first < kPairs; first += kListed) {
    VS more[kListed];
    PEERAGE_UNROLL for (int p = 0; p < kListed; ++p) {
      const auto [i, j] = kPairsOfPlaces[first + p];
      more[p] = NoKey();
      if (i >= args.listed || j >= args.listed) continue;
      const VS sum = hn::Add(lists[0].scores[i], lists[1].scores[j]);
      nothing = AddNothing(sum, nothing);
      more[p] = packing.Pack(sum, first + p);
    }
    best.Add(more);
  }
  *doubtful = hn::Or(*doubtful, hn::Or(best.AreDoubtful(packing, args.k),
                                       hn::Not(hn::Eq(nothing, hn::Zero(Score())))));
  // A pair that was left out may have as great a sum as the last one, and a lower id.
  const VS last = best.keys[args.k - 1];
  for (int i = 0; i < args.listed; ++i) {
    const int j = kListed / (i + 1);
    if (j >= args.listed) continue;
    const VS left_out = packing.Pack(hn::Add(lists[0].scores[i], lists[1].scores[j]), 0);
    *doubtful = hn::Or(*doubtful, hn::Or(packing.Alike(left_out, last), hn::Gt(left_out, last)));
  }
  return best;
}

void PicksOf(const PairPicksArgs& args, int64_t first, int count) {
  MS doubtful = hn::FirstN(Score(), 0);
  const List lists[2] = {BestOfHalf(args, args.scores[0] + first, count, &doubtful),
                         BestOfHalf(args, args.scores[1] + first, count, &doubtful)};
  const Packing packing(kPairs);
  const Best best = BestPairs(args, packing, lists, &doubtful);
  HWY_ALIGN float scores[2][kListed][kQueries];
  HWY_ALIGN uint32_t ids[2][kListed][kQueries], pairs[kListed][kQueries];
  for (int64_t i = 0; i < args.listed; ++i) {
    for (int half = 0; half < 2; ++half) {
      hn::Store(lists[half].scores[i], Score(), scores[half][i]);
      hn::Store(lists[half].ids[i], Bits(), ids[half][i]);
    }
  }
  for (int64_t r = 0; r < args.k; ++r) {
    hn::Store(packing.NumberOf(best.keys[r]), Bits(), pairs[r]);
  }
  uint8_t alone[8] = {};
  hn::StoreMaskBits(Score(), doubtful, alone);
  for (int lane = 0; lane < count; ++lane) {
    if ((alone[lane / 8] >> lane % 8 & 1) != 0) {
      PickAlone(args, first + lane);
      continue;
    }
    const int64_t out = (first + lane) * args.stride;
    for (int64_t r = 0; r < args.k; ++r) {
      const auto [i, j] = kPairsOfPlaces[pairs[r][lane]];
      args.sums[out + r] = scores[0][i][lane] + scores[1][j][lane];
      args.ids[out + r] = static_cast<int64_t>(ids[0][i][lane]) * args.n + ids[1][j][lane];
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
#else
  for (int64_t query = 0; query < args.queries; ++query) PickAlone(args, query);
#endif
}

bool AreFastTarget() { return HWY_TARGET <= HWY_AVX3; }

}  // namespace HWY_NAMESPACE
}  // namespace peerage::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace peerage::kernels {

HWY_EXPORT(PairPicksTarget);
HWY_EXPORT(AreFastTarget);

bool PairPicksAreFast() { return HWY_DYNAMIC_DISPATCH(AreFastTarget)(); }

void PairPicks(const PairPicksArgs& args) { HWY_DYNAMIC_DISPATCH(PairPicksTarget)(args); }

}  // namespace peerage::kernels
#endif
