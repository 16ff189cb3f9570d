// The k best of a row by threshold scan. The row is cut into at least 2 k columns; the k-th largest
// of the columns' maxima is a bound that k entries reach, and few more than k do (1.4 k of many
// random ones). They are collected and sorted by counting. No branch depends on the scores.
#include <algorithm>
#include <bit>
#include <limits>

#include "model/kernels/best_k.h"
#include "model/kernels/product_keys.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/kernels/top_k_cpu.cc"
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4)
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "model/kernels/best_k-inl.h"

HWY_BEFORE_NAMESPACE();
namespace peerage::kernels {
namespace HWY_NAMESPACE {
namespace {

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3

constexpr int kStrip = 32;  // columns whose maxima stay in registers
constexpr int kStripVectors = kStrip / kLanes;
constexpr int kMaxColumns = 2 * kMaxTopK;

int Columns(int k) { return std::max<int>(kStrip, 2 * std::bit_ceil(static_cast<uint32_t>(k))); }

// Max keeps its second operand when the first is a NaN.
HWY_INLINE VF MaxOfNumbers(VF x, VF highest) { return hn::Max(x, highest); }

void ColumnMaxima(const FindArgs& a, int columns, float* maxima) {
  const DF d;
  const VF lowest = hn::Neg(hn::Inf(d));
  for (int c = 0; c < columns; c += kStrip) {
    VF highest[kStripVectors];
    PEERAGE_UNROLL for (int v = 0; v < kStripVectors; ++v) highest[v] = lowest;
    int i = c;
    for (; i + kStrip <= a.n; i += columns) {
      PEERAGE_UNROLL for (int v = 0; v < kStripVectors; ++v) {
        highest[v] = MaxOfNumbers(hn::LoadU(d, a.scores + i + v * kLanes), highest[v]);
      }
    }
    PEERAGE_UNROLL for (int v = 0; v < kStripVectors; ++v) {
      const auto exists = FirstLanes(d, a.n - i - v * kLanes);
      const VF x = hn::MaskedLoad(exists, d, a.scores + i + v * kLanes);
      highest[v] = MaxOfNumbers(hn::IfThenElse(exists, x, lowest), highest[v]);
      hn::Store(highest[v], d, maxima + c + v * kLanes);
    }
  }
}

// The k-th largest of the maxima (with NaNs about, a lower one).
float KthLargest(const float* maxima, int columns, int k) {
  const DF d;
  const DU du;
  VF bound = hn::Neg(hn::Inf(d));
  for (int i = 0; i < columns; i += kStrip) {
    VF x[kStripVectors];
    VU reached[kStripVectors];
    PEERAGE_UNROLL for (int v = 0; v < kStripVectors; ++v) {
      x[v] = hn::Load(d, maxima + i + v * kLanes);
      reached[v] = hn::Zero(du);
    }
    for (int j = 0; j < columns; ++j) {
      const VF other = hn::Set(d, maxima[j]);
      PEERAGE_UNROLL for (int v = 0; v < kStripVectors; ++v) {
        reached[v] = AddOne(reached[v], hn::Ge(other, x[v]));
      }
    }
    PEERAGE_UNROLL for (int v = 0; v < kStripVectors; ++v) {
      const auto enough = hn::Gt(reached[v], hn::Set(du, static_cast<uint32_t>(k - 1)));
      bound = hn::Max(bound, hn::IfThenElse(hn::RebindMask(d, enough), x[v], bound));
    }
  }
  return hn::GetLane(hn::MaxOfLanes(d, bound));
}

float LowestCandidate(const FindArgs& a) {
  alignas(64) float maxima[kMaxColumns];
  const int columns = Columns(a.k);
  if (a.n < columns) return -std::numeric_limits<float>::infinity();
  ColumnMaxima(a, columns, maxima);
  return KthLargest(maxima, columns, a.k) - a.tolerance * 2;
}

Candidates FindCandidatesTarget(const FindArgs& a) {
  const DF d;
  const DU du;
  const VF lowest = hn::Set(d, LowestCandidate(a));
  const int most = MostCandidates(a.k);
  Candidates c;
  int count = 0;
  const VU iota = hn::Iota(du, 0);
  const auto collect = [&](int i, hn::Mask<DF> keep) HWY_ATTR {
    const VU positions = hn::Add(iota, hn::Set(du, static_cast<uint32_t>(i)));
    count = Append(du, positions, hn::RebindMask(du, keep), c.sources, count);
  };
  int i = 0;
  for (; i + kLanes <= a.n && count <= most; i += kLanes) {
    collect(i, hn::Ge(hn::LoadU(d, a.scores + i), lowest));
  }
  if (i < a.n && count <= most) {
    const auto exists = FirstLanes(d, a.n - i);
    collect(i, hn::And(exists, hn::Ge(hn::MaskedLoad(exists, d, a.scores + i), lowest)));
  }
  c.count = count;
  if (!Sufficient(c, a.k)) return c;
  for (int j = 0; j < c.count; ++j) c.values[j] = a.scores[c.sources[j]];
  return c;
}

void SelectBestTarget(const Candidates& c, int k, float* values, int32_t* ids) {
  uint32_t order[Candidates::kCapacity];
  if (!RankByCounting(c, order)) {
    for (int i = 0; i < c.count; ++i) order[i] = i;
    std::stable_sort(order, order + c.count,
                     [&](uint32_t i, uint32_t j) { return c.values[i] > c.values[j]; });
  }
  for (int i = 0; i < k; ++i) {
    values[i] = c.values[order[i]];
    ids[i] = static_cast<int32_t>(c.sources[order[i]]);
  }
}

#else

// Insufficient, so that nothing is ever selected from them.
Candidates FindCandidatesTarget(const FindArgs&) {
  Candidates none;
  none.count = 0;
  return none;
}
void SelectBestTarget(const Candidates&, int, float*, int32_t*) {}

#endif  // HWY_TARGET

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace peerage::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace peerage::kernels {

HWY_EXPORT(FindCandidatesTarget);
HWY_EXPORT(SelectBestTarget);

Candidates FindCandidates(const FindArgs& args) {
  return HWY_DYNAMIC_DISPATCH(FindCandidatesTarget)(args);
}

void SelectBest(const Candidates& candidates, int k, float* values, int32_t* ids) {
  HWY_DYNAMIC_DISPATCH(SelectBestTarget)(candidates, k, values, ids);
}

void SelectBestOfAll(const FindArgs& args, float* values, int32_t* ids) {
  BestK best(args.k);
  for (int i = 0; i < args.n; ++i) best.Offer({args.scores[i], static_cast<uint32_t>(i)});
  for (const Scored& scored : best.Sort()) {
    *values++ = std::isnan(scored.value) ? std::numeric_limits<float>::quiet_NaN() : scored.value;
    *ids++ = static_cast<int32_t>(scored.id);
  }
}

void TopK(const TopKArgs& args) {
  for (int row = 0; row < args.rows; ++row) {
    const FindArgs find{args.scores + row * args.stride, args.n, args.k};
    float* values = args.values + size_t(row) * args.k;
    int32_t* ids = args.ids + size_t(row) * args.k;
    Candidates candidates = FindCandidates(find);
    if (Sufficient(candidates, args.k)) {
      SelectBest(candidates, args.k, values, ids);
    } else {
      SelectBestOfAll(find, values, ids);
    }
  }
}

}  // namespace peerage::kernels
#endif
