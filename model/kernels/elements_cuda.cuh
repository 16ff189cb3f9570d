// Numbers in device memory (DeviceFloat) as kernels see them: float, or uint16_t for the bits of a
// bf16; alone and in pieces of 8, which are 16 or 32 bytes.
#pragma once

#include "model/kernels/device_cuda.cuh"
#include "model/kernels/device_float_cuda.h"

namespace peerage::kernels::cuda {

inline constexpr int kPiece = 8;  // elements

__device__ __forceinline__ float ToFloat(float x) { return x; }
__device__ __forceinline__ float ToFloat(uint16_t bits) { return FromBf16(bits); }

template <typename Element>
__device__ __forceinline__ Element FromFloat(float x) {
  if constexpr (sizeof(Element) == sizeof(float)) {
    return x;
  } else {
    return ToBf16(x);
  }
}

// Whole pieces at 16-byte boundaries.
__device__ __forceinline__ Eight LoadPiece(const float* p) {
  const float4 a = reinterpret_cast<const float4*>(p)[0], b = reinterpret_cast<const float4*>(p)[1];
  return {{a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w}};
}
__device__ __forceinline__ Eight LoadPiece(const uint16_t* p) {
  return Unpack(*reinterpret_cast<const uint4*>(p));
}
__device__ __forceinline__ void StorePiece(float* p, const Eight& e) {
  reinterpret_cast<float4*>(p)[0] = make_float4(e.v[0], e.v[1], e.v[2], e.v[3]);
  reinterpret_cast<float4*>(p)[1] = make_float4(e.v[4], e.v[5], e.v[6], e.v[7]);
}
__device__ __forceinline__ void StorePiece(uint16_t* p, const Eight& e) {
  *reinterpret_cast<uint4*>(p) = make_uint4(PackPair(e.v[0], e.v[1]), PackPair(e.v[2], e.v[3]),
                                            PackPair(e.v[4], e.v[5]), PackPair(e.v[6], e.v[7]));
}

// The piece at `at` of a row of `width` elements, zeros behind its end. Without kWhole the row may
// lie and end anywhere: elements come one by one, the same ones in the same places, so that what
// sums pieces has the same bits either way.
template <bool kWhole, typename Element>
__device__ __forceinline__ Eight LoadPieceOf(const Element* row, int at, int width) {
  if constexpr (kWhole) {
    return LoadPiece(row + at);
  } else {
    Eight e{};
#pragma unroll
    for (int j = 0; j < kPiece; ++j) {
      if (at + j < width) e.v[j] = ToFloat(row[at + j]);
    }
    return e;
  }
}
template <bool kWhole, typename Element>
__device__ __forceinline__ void StorePieceOf(Element* row, int at, int width, const Eight& e) {
  if constexpr (kWhole) {
    StorePiece(row + at, e);
  } else {
#pragma unroll
    for (int j = 0; j < kPiece; ++j) {
      if (at + j < width) row[at + j] = FromFloat<Element>(e.v[j]);
    }
  }
}

// ---- on the host: whether rows can be read and written in whole pieces
inline bool IsAligned(const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }
inline bool HasWholePieces(const void* rows, DeviceFloat type, size_t stride, int width) {
  return IsAligned(rows) && stride * BytesOf(type) % 16 == 0 && width % kPiece == 0;
}

}  // namespace peerage::kernels::cuda
