// e^x as the CPU's kernels have it (Exp of vector_math-inl.h), operation for operation and so bit
// for bit: relative error below 1.5e-7, exactly 1 at 0, 0 below -87.33, NaN stays NaN.
#pragma once

#include <cuda_runtime.h>

namespace peerage::kernels::cuda {

// Precondition: x <= 88.37 or NaN.
__device__ __forceinline__ float Exp(float x) {
  constexpr float kRound = 12582912.0f + 127.0f;
  const float rounded = __fmaf_rn(x, 0x1.715476p+0f, kRound);
  const float n = __fsub_rn(rounded, kRound);
  const float power = __int_as_float(__float_as_int(rounded) << 23);
  float r = __fmaf_rn(-n, 0x1.62e4p-1f, x);
  r = __fmaf_rn(-n, 0x1.7f7d1cp-20f, r);
  float y = 0x1.6a2434p-10f;
  y = __fmaf_rn(y, r, 0x1.1239e2p-7f);
  y = __fmaf_rn(y, r, 0x1.5558f2p-5f);
  y = __fmaf_rn(y, r, 0x1.555492p-3f);
  y = __fmaf_rn(y, r, 0x1.fffffcp-2f);
  y = __fmaf_rn(y, r, 1.0f);
  y = __fmul_rn(__fmaf_rn(y, r, 1.0f), power);
  return x < -87.33f ? 0.0f : y;
}

}  // namespace peerage::kernels::cuda
