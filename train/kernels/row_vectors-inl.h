// Rows of f32 and bf16 as vectors of f32, for the kernels of training. Included once per
// instruction set, after hwy/highway.h (hence the unusual guard).
#if defined(PEERAGE_TRAIN_KERNELS_ROW_VECTORS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PEERAGE_TRAIN_KERNELS_ROW_VECTORS_INL_H_
#undef PEERAGE_TRAIN_KERNELS_ROW_VECTORS_INL_H_
#else
#define PEERAGE_TRAIN_KERNELS_ROW_VECTORS_INL_H_
#endif

#include <bit>
#include <cmath>
#include <cstdint>

#include "hwy/highway.h"
#include "model/kernels/float16.h"
#include "model/kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace peerage::kernels {
namespace HWY_NAMESPACE {

using DF = hn::ScalableTag<float>;
using DU = hn::RebindToUnsigned<DF>;
using VF = hn::Vec<DF>;

constexpr int kLanes = HWY_LANES(float);

HWY_INLINE VF LoadVector(const float* p) { return hn::LoadU(DF(), p); }
HWY_INLINE VF LoadVector(const uint16_t* p) {
  const hn::Rebind<uint16_t, DF> half;
  return hn::BitCast(DF(), hn::ShiftLeft<16>(hn::PromoteTo(DU(), hn::LoadU(half, p))));
}
HWY_INLINE void StoreVector(VF v, float* p) { hn::StoreU(v, DF(), p); }

// A bf16 vector rounds as its elements do alone.
HWY_INLINE void StoreVector(VF v, uint16_t* p) {
  float lanes[kLanes];
  hn::StoreU(v, DF(), lanes);
  for (int i = 0; i < kLanes; ++i) p[i] = BF16FromF32(lanes[i]);
}

// One vector of a row, wholly there.
struct WholeVector {
  template <typename T>
  HWY_INLINE VF Load(const T* p) const {
    return LoadVector(p);
  }
  template <typename T>
  HWY_INLINE void Store(VF v, T* p) const {
    StoreVector(v, p);
  }
};

// The last one, of which there are only `count` < kLanes elements; zeros are loaded behind them.
struct LastVector {
  HWY_INLINE VF Load(const float* p) const { return LoadFirst(DF(), p, count); }
  HWY_INLINE VF Load(const uint16_t* p) const {
    float lanes[kLanes] = {};
    for (int64_t i = 0; i < count; ++i) lanes[i] = F32FromBF16(p[i]);
    return hn::LoadU(DF(), lanes);
  }
  HWY_INLINE void Store(VF v, float* p) const { StoreFirst(v, DF(), p, count); }
  HWY_INLINE void Store(VF v, uint16_t* p) const {
    float lanes[kLanes];
    hn::StoreU(v, DF(), lanes);
    for (int64_t i = 0; i < count; ++i) p[i] = BF16FromF32(lanes[i]);
  }
  int64_t count;
};

// Calls use(column, vector) for all vectors of a row of the width.
template <typename Use>
HWY_INLINE void ForEachVector(int64_t width, const Use& use) {
  int64_t c = 0;
  for (; c + kLanes <= width; c += kLanes) use(c, WholeVector());
  if (c < width) use(c, LastVector{width - c});
}

}  // namespace HWY_NAMESPACE
}  // namespace peerage::kernels
HWY_AFTER_NAMESPACE();

#endif  // PEERAGE_TRAIN_KERNELS_ROW_VECTORS_INL_H_
