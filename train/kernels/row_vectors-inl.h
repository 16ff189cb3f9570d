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

HWY_INLINE float ToFloat(float x) { return x; }
HWY_INLINE float ToFloat(uint16_t x) { return F32FromBF16(x); }
HWY_INLINE uint16_t ToBF16(float x) { return BF16FromF32(x); }
HWY_INLINE void StoreFloat(float x, float* p) { *p = x; }
HWY_INLINE void StoreFloat(float x, uint16_t* p) { *p = ToBF16(x); }

// A bf16 vector rounds as its elements do alone.
HWY_INLINE void StoreVector(VF v, uint16_t* p) {
  float lanes[kLanes];
  hn::StoreU(v, DF(), lanes);
  for (int i = 0; i < kLanes; ++i) p[i] = ToBF16(lanes[i]);
}

}  // namespace HWY_NAMESPACE
}  // namespace peerage::kernels
HWY_AFTER_NAMESPACE();

#endif  // PEERAGE_TRAIN_KERNELS_ROW_VECTORS_INL_H_
