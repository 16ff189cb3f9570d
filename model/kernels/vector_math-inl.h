// What the CPU kernels share: vector functions whose results do not depend on the vector's width.
// Included once per instruction set, after hwy/highway.h (hence the unusual guard).
#if defined(PEERAGE_MODEL_KERNELS_VECTOR_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PEERAGE_MODEL_KERNELS_VECTOR_MATH_INL_H_
#undef PEERAGE_MODEL_KERNELS_VECTOR_MATH_INL_H_
#else
#define PEERAGE_MODEL_KERNELS_VECTOR_MATH_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "hwy/highway.h"
#include "model/kernels/unroll.h"

HWY_BEFORE_NAMESPACE();
namespace peerage::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// a * b + c in one rounding, and c - a * b. Highway's portable code rounds twice.
template <class D>
HWY_INLINE hn::Vec<D> FusedMulAdd(D d, hn::Vec<D> a, hn::Vec<D> b, hn::Vec<D> c) {
#if HWY_TARGET <= HWY_AVX2  // better targets have lower numbers
  return hn::MulAdd(a, b, c);
#else
  constexpr size_t kMaxLanes = hn::MaxLanes(D());
  hn::TFromD<D> x[kMaxLanes], y[kMaxLanes], sum[kMaxLanes];
  hn::StoreU(a, d, x);
  hn::StoreU(b, d, y);
  hn::StoreU(c, d, sum);
  for (size_t i = 0; i < kMaxLanes; ++i) sum[i] = std::fma(x[i], y[i], sum[i]);
  return hn::LoadU(d, sum);
#endif
}
template <class D>
HWY_INLINE hn::Vec<D> FusedNegMulAdd(D d, hn::Vec<D> a, hn::Vec<D> b, hn::Vec<D> c) {
#if HWY_TARGET <= HWY_AVX2
  return hn::NegMulAdd(a, b, c);
#else
  return FusedMulAdd(d, hn::Neg(a), b, c);
#endif
}

// Sums run as 16 partial sums (element i belongs to sum i % 16), whatever the vector's width.
constexpr int kPartialSums = 16;

// Adds 16 partial sums in one fixed order: halves onto halves.
template <typename T>
HWY_INLINE T AddPartialSums(T* sums) {
  for (int width = kPartialSums / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) sums[i] += sums[i + width];
  }
  return sums[0];
}

// The first `n` lanes; all of them when there are fewer, none when n <= 0.
template <class D>
HWY_INLINE hn::Mask<D> FirstLanes(D d, ptrdiff_t n) {
  return hn::FirstN(d, static_cast<size_t>(std::clamp<ptrdiff_t>(n, 0, hn::Lanes(d))));
}

// The vector at `p`, of which only `n` elements exist; zeros behind them. (Highway's portable code
// touches what its masks leave out.)
template <class D>
HWY_INLINE hn::Vec<D> LoadFirst(D d, const hn::TFromD<D>* p, ptrdiff_t n) {
  if (n >= static_cast<ptrdiff_t>(hn::Lanes(d))) return hn::LoadU(d, p);
#if HWY_TARGET <= HWY_AVX2
  return hn::MaskedLoad(FirstLanes(d, n), d, p);
#else
  hn::TFromD<D> lanes[hn::MaxLanes(D())] = {};
  for (ptrdiff_t i = 0; i < n; ++i) lanes[i] = p[i];
  return hn::LoadU(d, lanes);
#endif
}

template <class D>
HWY_INLINE void StoreFirst(hn::Vec<D> v, D d, hn::TFromD<D>* p, ptrdiff_t n) {
  if (n >= static_cast<ptrdiff_t>(hn::Lanes(d))) return hn::StoreU(v, d, p);
#if HWY_TARGET <= HWY_AVX2
  hn::BlendedStore(v, FirstLanes(d, n), d, p);
#else
  hn::TFromD<D> lanes[hn::MaxLanes(D())];
  hn::StoreU(v, d, lanes);
  for (ptrdiff_t i = 0; i < n; ++i) p[i] = lanes[i];
#endif
}

// e^x, relative error below 1.5e-7: e^x = 2^n e^r with n = round(x / ln 2), |r| <= ln(2) / 2 (Cody
// and Waite 1980, chapter 6), e^r by the polynomial of degree 6 with the least relative error
// (3e-9, found by the Remez exchange). Exactly 1 at 0, 0 below -87.33 (no subnormal results),
// infinity above 88.37; NaN stays NaN.
template <class D>
HWY_INLINE hn::Vec<D> Exp(D d, hn::Vec<D> x) {
  const hn::RebindToSigned<D> di;
  constexpr float kLowest = -87.33f, kHighest = 88.37f;
  constexpr float kInverseLn2 = 0x1.715476p+0f;
  // ln 2 in two parts; the first has 15 bits, so that its product with n is exact.
  constexpr float kLn2High = 0x1.62e4p-1f, kLn2Low = 0x1.7f7d1cp-20f;
  // Adding 1.5 * 2^23 rounds to an integer in the low bits; with the exponent's bias on top, a
  // shift makes 2^n of them.
  constexpr float kRound = 12582912.0f + 127.0f;
  const auto rounded = FusedMulAdd(d, x, hn::Set(d, kInverseLn2), hn::Set(d, kRound));
  const auto n = hn::Sub(rounded, hn::Set(d, kRound));
  const auto power = hn::BitCast(d, hn::ShiftLeft<23>(hn::BitCast(di, rounded)));
  auto r = FusedNegMulAdd(d, n, hn::Set(d, kLn2High), x);
  r = FusedNegMulAdd(d, n, hn::Set(d, kLn2Low), r);
  auto y = hn::Set(d, 0x1.6a2434p-10f);
  y = FusedMulAdd(d, y, r, hn::Set(d, 0x1.1239e2p-7f));
  y = FusedMulAdd(d, y, r, hn::Set(d, 0x1.5558f2p-5f));
  y = FusedMulAdd(d, y, r, hn::Set(d, 0x1.555492p-3f));
  y = FusedMulAdd(d, y, r, hn::Set(d, 0x1.fffffcp-2f));
  y = FusedMulAdd(d, y, r, hn::Set(d, 1.0f));
  y = hn::Mul(FusedMulAdd(d, y, r, hn::Set(d, 1.0f)), power);
  y = hn::IfThenElse(hn::Lt(x, hn::Set(d, kLowest)), hn::Zero(d), y);
  return hn::IfThenElse(hn::Gt(x, hn::Set(d, kHighest)), hn::Inf(d), y);
}

}  // namespace HWY_NAMESPACE
}  // namespace peerage::kernels
HWY_AFTER_NAMESPACE();

#endif  // PEERAGE_MODEL_KERNELS_VECTOR_MATH_INL_H_
