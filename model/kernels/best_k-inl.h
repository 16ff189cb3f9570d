// What collects and orders the candidates of best_k.h, compiled once per instruction set (AVX2 and
// better).
#if defined(PEERAGE_MODEL_KERNELS_BEST_K_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PEERAGE_MODEL_KERNELS_BEST_K_INL_H_
#undef PEERAGE_MODEL_KERNELS_BEST_K_INL_H_
#else
#define PEERAGE_MODEL_KERNELS_BEST_K_INL_H_
#endif

#include <cstdint>

#include "hwy/highway.h"
#include "model/kernels/best_k.h"
#include "model/kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace peerage::kernels {
namespace HWY_NAMESPACE {

using DF = hn::ScalableTag<float>;
using VF = hn::Vec<DF>;
using DU = hn::RebindToUnsigned<DF>;
using VU = hn::Vec<DU>;

constexpr int kLanes = HWY_LANES(float);

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3

#if HWY_TARGET == HWY_AVX2

struct LaneTable {
  alignas(8) uint8_t kept_first[256][8];
};

constexpr LaneTable MakeLaneTable() {
  LaneTable table = {};
  for (int bits = 0; bits < 256; ++bits) {
    int kept = 0;
    for (int lane = 0; lane < 8; ++lane) {
      if ((bits >> lane & 1) != 0) table.kept_first[bits][kept++] = static_cast<uint8_t>(lane);
    }
  }
  return table;
}
constexpr LaneTable kLaneTable = MakeLaneTable();

// Highway 1.0.3 has its table on the stack, and GCC 12 copies it there each time.
template <class D>
HWY_INLINE hn::Vec<D> CompressLanes(D d, hn::Vec<D> lanes, hn::Mask<D> keep) {
  const DU du;
  uint8_t bits;
  hn::StoreMaskBits(d, keep, &bits);
  const auto order = hn::Load(hn::Rebind<uint8_t, DU>(), kLaneTable.kept_first[bits]);
  return hn::TableLookupLanes(lanes, hn::IndicesFromVec(d, hn::PromoteTo(du, order)));
}

#else

template <class D>
HWY_INLINE hn::Vec<D> CompressLanes(D, hn::Vec<D> lanes, hn::Mask<D> keep) {
  return hn::Compress(lanes, keep);
}

#endif

// Writes the lanes of `keep` behind `count` others and returns how many there are then. Stores
// whole vectors. (A count in memory, which the stores could change, would cost a wait for each.)
template <class D>
HWY_INLINE int Append(D d, hn::Vec<D> lanes, hn::Mask<D> keep, hn::TFromD<D>* to, int count) {
  hn::StoreU(CompressLanes(d, lanes, keep), d, to + count);
  return count + static_cast<int>(hn::CountTrue(d, keep));
}

// counts + 1 where `counted`: one instruction on AVX3, two on AVX2.
HWY_INLINE VU AddOne(VU counts, hn::Mask<DF> counted) {
  const DU du;
#if HWY_TARGET == HWY_AVX3
  return hn::IfThenElse(hn::RebindMask(du, counted), hn::Add(counts, hn::Set(du, 1)), counts);
#else
  return hn::Sub(counts, hn::BitCast(du, hn::VecFromMask(DF(), counted)));
#endif
}

// order[r] = index of the candidate that r others beat. No branch depends on the values. False when
// two are equal: then the order is not determined.
HWY_INLINE bool RankByCounting(const Candidates& c, uint32_t* order) {
  const DF d;
  const DU du;
  alignas(64) uint32_t ranks[Candidates::kCapacity + Candidates::kPadding];
  VU total = hn::Zero(du);
  for (int i = 0; i < c.count; i += kLanes) {
    const VF values = hn::Load(d, c.values + i);
    VU rank = hn::Zero(du);
    for (int j = 0; j < c.count; ++j) {
      rank = AddOne(rank, hn::Gt(hn::Set(d, c.values[j]), values));
    }
    hn::Store(rank, du, ranks + i);
    total = hn::Add(total, hn::IfThenElseZero(FirstLanes(du, c.count - i), rank));
  }
  // Of each two different ones, one beats the other.
  const auto pairs = static_cast<uint32_t>(c.count * (c.count - 1) / 2);
  if (hn::GetLane(hn::SumOfLanes(du, total)) != pairs) return false;
  for (int i = 0; i < c.count; ++i) order[ranks[i]] = i;
  return true;
}

#endif  // HWY_TARGET

}  // namespace HWY_NAMESPACE
}  // namespace peerage::kernels
HWY_AFTER_NAMESPACE();

#endif  // PEERAGE_MODEL_KERNELS_BEST_K_INL_H_
