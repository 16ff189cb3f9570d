// The first half of ExpertKernel: what each pick's last vector is multiplied by.
#pragma once

#include "model/kernels/activation_cuda.cuh"
#include "model/kernels/expert_piece_cuda.cuh"
#include "model/kernels/experts_cuda.h"
#include "model/kernels/product_keys_cuda.h"

namespace peerage::kernels::cuda {

inline constexpr int kExpertThreads = 256;
inline constexpr int kExpertWarps = kExpertThreads / 32;
inline constexpr int kStreams = 2;  // vectors whose products a warp computes at once

struct ExpertKernelArgs {
  ExpertArgs experts;
  RecordGeometry geometry;
  int last_vector = 0;
  // Threads in as many groups share the picks when one group is enough for a vector.
  int groups = 0;
  bool wide_x = false;         // four elements of x can be read at once
  bool wide_partials = false;  // and four of the sums written
};

struct ExpertBlock {
  float factors[kMaxTopK];
  int not_finite[kExpertWarps];  // by warp: saw such an activation
};

// With their scales they are twice as wide.
template <ExpertFormat kFormat>
inline constexpr int kPiecesAhead = kFormat == ExpertFormat::kInt4 ? 2 : 4;

__device__ __forceinline__ size_t FirstPick(const ExpertArgs& args) {
  return (size_t(blockIdx.y) * args.heads + blockIdx.x) * args.top_k;
}

__device__ __forceinline__ const uint8_t* RecordOf(const ExpertKernelArgs& args, int pick) {
  if (pick >= args.experts.top_k) return nullptr;
  const uint32_t id = args.experts.ids[FirstPick(args.experts) + pick];
  if (id == kNoExpert) return nullptr;
  return args.experts.table.records + id * args.geometry.record_bytes;
}

// The same for all warps.
__device__ inline bool AnyPicked(const ExpertArgs& args) {
  bool any = false;
  for (int pick = threadIdx.x % 32; pick < args.top_k; pick += 32) {
    any |= args.ids[FirstPick(args) + pick] != kNoExpert;
  }
  return __any_sync(kWarp, any);
}

__device__ __forceinline__ float LoadX(const ExpertArgs& args, size_t at) {
  return args.x_type == DeviceFloat::kF32 ? static_cast<const float*>(args.x)[at]
                                          : FromBf16(static_cast<const uint16_t*>(args.x)[at]);
}

__device__ inline float4 LoadX4(const ExpertKernelArgs& args, int element) {
  const ExpertArgs& experts = args.experts;
  const size_t at = blockIdx.y * experts.x_stride + element;
  const int left = experts.table.width - element;
  if (args.wide_x && left > 0) {
    if (experts.x_type == DeviceFloat::kF32) {
      return *reinterpret_cast<const float4*>(static_cast<const float*>(experts.x) + at);
    }
    const uint2 pairs =
        *reinterpret_cast<const uint2*>(static_cast<const uint16_t*>(experts.x) + at);
    return make_float4(LowFloat(pairs.x), HighFloat(pairs.x), LowFloat(pairs.y),
                       HighFloat(pairs.y));
  }
  return make_float4(left > 0 ? LoadX(experts, at) : 0, left > 1 ? LoadX(experts, at + 1) : 0,
                     left > 2 ? LoadX(experts, at + 2) : 0, left > 3 ? LoadX(experts, at + 3) : 0);
}

__device__ __forceinline__ bool AllFinite(float4 v) {
  return isfinite(v.x) && isfinite(v.y) && isfinite(v.z) && isfinite(v.w);
}

// Lays the token where lanes that have neighbouring pieces find what these are multiplied by side
// by side: [pieces / 32][slice][32]. Zeros behind its end.
template <ExpertFormat kFormat>
__device__ void StageX(const ExpertKernelArgs& args, float4* x, ExpertBlock& block) {
  using Piece = ExpertPiece<kFormat>;
  const int count = (args.geometry.pieces + 31) / 32 * 32 * Piece::kSlices;
  bool not_finite = false;
  for (int i = threadIdx.x; i < count; i += kExpertThreads) {
    const int slice = i / 32 % Piece::kSlices;
    const int piece = i / (32 * Piece::kSlices) * 32 + i % 32;
    const float4 v = LoadX4(args, Piece::Element(piece, slice));
    StoreShared4(&x[i].x, v.x, v.y, v.z, v.w);
    not_finite |= !AllFinite(v);
  }
  const bool any = __any_sync(kWarp, not_finite);
  if (threadIdx.x % 32 == 0) block.not_finite[threadIdx.x / 32] = any;
}

// x . vector for each, without VectorScale; a warp's.
template <ExpertFormat kFormat>
__device__ __forceinline__ void Multiply(const RecordGeometry& geometry, const float4* x,
                                         const ExpertVector (&vectors)[kStreams],
                                         float (&dots)[kStreams]) {
  using Piece = ExpertPiece<kFormat>;
  constexpr int kAhead = kPiecesAhead<kFormat>;
  const int lane = threadIdx.x % 32;
  float4 sums[kStreams] = {};
  for (int first = 0; first < geometry.pieces; first += 32 * kAhead) {
    Piece pieces[kStreams][kAhead];
#pragma unroll
    for (int s = 0; s < kStreams; ++s) {
#pragma unroll
      for (int i = 0; i < kAhead; ++i) {
        const int piece = first + 32 * i + lane;
        if (vectors[s].record == nullptr || piece >= geometry.pieces) continue;
        pieces[s][i].Load(geometry, vectors[s], piece);
      }
    }
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      if (first + 32 * i >= geometry.pieces) break;
      float4 unscaled[kStreams] = {};
#pragma unroll
      for (int slice = 0; slice < Piece::kSlices; ++slice) {
        const float4 factor = x[((first / 32 + i) * Piece::kSlices + slice) * 32 + lane];
#pragma unroll
        for (int s = 0; s < kStreams; ++s) {
          AddProduct(Piece::kScaled ? unscaled[s] : sums[s], factor, pieces[s][i].Slice(slice));
        }
      }
      if constexpr (Piece::kScaled) {
#pragma unroll
        for (int s = 0; s < kStreams; ++s) AddProduct(sums[s], unscaled[s], pieces[s][i].Scales());
      }
    }
  }
#pragma unroll
  for (int s = 0; s < kStreams; ++s) {
    dots[s] = WarpSum((sums[s].x + sums[s].y) + (sums[s].z + sums[s].w));
  }
}

// What each pick's last vector is multiplied by. A warp has every kExpertWarps-th pick, two at a
// time, or both vectors of one.
template <ExpertFormat kFormat>
__device__ void ComputeFactors(const ExpertKernelArgs& args, const float4* x, ExpertBlock& block) {
  const ExpertArgs& experts = args.experts;
  const bool gated = experts.table.kind == ExpertKind::kGatedNeuron;
  bool not_finite = false;
  for (int w = 0; w < kExpertWarps; ++w) not_finite |= block.not_finite[w] != 0;
  const int step = gated ? kExpertWarps : kStreams * kExpertWarps;
  for (int pick = threadIdx.x / 32; pick < experts.top_k; pick += step) {
    const int second = gated ? pick : pick + kExpertWarps;
    const ExpertVector vectors[kStreams] = {{RecordOf(args, pick), 0},
                                            {RecordOf(args, second), gated ? 1 : 0}};
    float dots[kStreams];
    Multiply<kFormat>(args.geometry, x, vectors, dots);
#pragma unroll
    for (int s = 0; s < kStreams; ++s) {
      if (vectors[s].record == nullptr) continue;
      dots[s] =
          not_finite ? __int_as_float(0x7fffffff) : dots[s] * VectorScale<kFormat>(vectors[s]);
    }
    if (threadIdx.x % 32 != 0) continue;
    const float* weights = experts.weights + FirstPick(experts);
    const float first = Activate(experts.activation, dots[0]);
    block.factors[pick] = weights[pick] * (gated ? first * dots[1] : first);
    if (!gated && second < experts.top_k) {
      block.factors[second] = weights[second] * Activate(experts.activation, dots[1]);
    }
  }
}

__device__ inline void TakeWeights(const ExpertArgs& args, ExpertBlock& block) {
  for (int pick = threadIdx.x; pick < args.top_k; pick += kExpertThreads) {
    block.factors[pick] = args.weights[FirstPick(args) + pick];
  }
}

}  // namespace peerage::kernels::cuda
