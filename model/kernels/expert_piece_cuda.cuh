// How lanes read the records of expert_record.h: 16 bytes each, that is, four words of a line, so
// that every format is read in whole sectors. The words' first elements lie side by side, the
// second ones 16 elements further, and so on: a slice is four neighbours.
#pragma once

#include <cuda_fp16.h>

#include "model/kernels/device_cuda.cuh"
#include "model/kernels/expert_record.h"

namespace peerage::kernels::cuda {

inline constexpr int kPieceBytes = 16;
inline constexpr int kPiecesPerLine = kLineBytes / kPieceBytes;

struct RecordGeometry {
  size_t record_bytes = 0;
  size_t header_bytes = 0;
  size_t vector_bytes = 0;
  int pieces = 0;    // of a vector
  int segments = 0;  // of a vector
};

// One vector of one record.
struct ExpertVector {
  const uint8_t* record = nullptr;  // null: none, all pieces are zeros
  int index = 0;
};

__device__ __forceinline__ void AddProduct(float4& sum, float4 a, float4 b) {
  sum.x = fmaf(a.x, b.x, sum.x);
  sum.y = fmaf(a.y, b.y, sum.y);
  sum.z = fmaf(a.z, b.z, sum.z);
  sum.w = fmaf(a.w, b.w, sum.w);
}
__device__ __forceinline__ void AddProduct(float4& sum, float a, float4 b) {
  AddProduct(sum, make_float4(a, a, a, a), b);
}

// Byte `index` of a word as a float, less `bias`: put where the lowest bits of 2^23 are, since
// conversions run at a fraction of the rate of additions.
__device__ __forceinline__ float UnsignedByte(uint32_t word, int index, float bias) {
  return __uint_as_float(__byte_perm(word, 0x4b000000, 0x7440 | index)) - (0x1p23f + bias);
}

// Two e4m3 in the upper bytes of the halves of a word, as f16 that are 2^8 times smaller: the bias
// of the exponent is 15, not 7.
__device__ __forceinline__ uint32_t HalvesOfE4m3(uint32_t bytes) {
  return (bytes & 0x80008000) | (bytes & 0x7f007f00) >> 1;
}

template <ExpertFormat kFormat>
struct ExpertPiece {
  static constexpr int kLineElements = ElementsPerLine(kFormat);
  static constexpr int kSlices = kLineElements / kWordsPerLine;
  static constexpr int kSegmentPieces = kPiecesPerLine * LinesPerSegment(kFormat);
  static constexpr bool kScaled = kFormat == ExpertFormat::kInt4;  // each word on its own
  static constexpr bool kVectorScaled = HasVectorScale(kFormat);   // all of a vector alike

  uint4 words = {};
  uint4 scales = {};  // of two segments: in the low and in the high halves
  bool high_scales = false;

  // The first of a slice's elements, in the vector.
  static __device__ __forceinline__ int Element(int piece, int slice) {
    return piece / kPiecesPerLine * kLineElements + slice * kWordsPerLine +
           piece % kPiecesPerLine * 4;
  }

  __device__ __forceinline__ void Load(const RecordGeometry& geometry, const ExpertVector& vector,
                                       int piece) {
    words = LoadOnce(vector.record + geometry.header_bytes + vector.index * geometry.vector_bytes +
                     size_t(piece) * kPieceBytes);
    if constexpr (kScaled) {
      const int segment = piece / kSegmentPieces;
      const int line = vector.index * geometry.segments + segment;
      scales =
          LoadOnce(vector.record + line / 2 * kLineBytes + piece % kPiecesPerLine * kPieceBytes);
      high_scales = line % 2 != 0;
    }
  }

  // Elements of integer formats are without their scale, those of fp8 without VectorScale.
  __device__ __forceinline__ float4 Slice(int slice) const {
    return make_float4(Value(words.x, slice), Value(words.y, slice), Value(words.z, slice),
                       Value(words.w, slice));
  }

  __device__ __forceinline__ float4 Scales() const {
    return make_float4(Scale(scales.x), Scale(scales.y), Scale(scales.z), Scale(scales.w));
  }

 private:
  __device__ __forceinline__ float Scale(uint32_t pair) const {
    return high_scales ? HighFloat(pair) : LowFloat(pair);
  }

  static __device__ __forceinline__ float Value(uint32_t word, int slice) {
    if constexpr (kFormat == ExpertFormat::kF32) return __uint_as_float(word);
    if constexpr (kFormat == ExpertFormat::kBF16) {
      return slice == 0 ? LowFloat(word) : HighFloat(word);
    }
    // Two's complement plus half its range is an unsigned number.
    if constexpr (kFormat == ExpertFormat::kInt8) {
      return UnsignedByte(word ^ 0x80808080, slice, 128);
    }
    if constexpr (kFormat == ExpertFormat::kFp8) {
      const uint32_t pair = HalvesOfE4m3(__byte_perm(word, 0, slice < 2 ? 0x1404 : 0x3424));
      return __half2float(__ushort_as_half(slice % 2 == 0 ? pair : pair >> 16));
    }
    const uint32_t nibbles = (word ^ 0x88888888) >> slice / 4 * 4 & 0x0f0f0f0f;
    return UnsignedByte(nibbles, slice % 4, 8);
  }
};

// The factor that all elements of a vector share.
template <ExpertFormat kFormat>
__device__ __forceinline__ float VectorScale(const ExpertVector& vector) {
  if constexpr (!ExpertPiece<kFormat>::kVectorScaled) return 1;
  const float scale = reinterpret_cast<const float*>(vector.record)[vector.index];
  return kFormat == ExpertFormat::kFp8 ? 0x1p8f * scale : scale;
}

}  // namespace peerage::kernels::cuda
