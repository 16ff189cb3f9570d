#include "model/kernels/activation_cuda.cuh"
#include "model/kernels/expert_piece_cuda.cuh"
#include "model/kernels/experts_cuda.h"
#include "model/kernels/product_keys_cuda.h"

namespace peerage::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int kStreams = 2;     // vectors whose products a warp computes at once
constexpr int kPicksAhead = 4;  // whose last vectors a thread loads at once

struct KernelArgs {
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
  int not_finite[kWarps];  // by warp: saw such an activation
};

// With their scales they are twice as wide.
template <ExpertFormat kFormat>
constexpr int kPiecesAhead = kFormat == ExpertFormat::kInt4 ? 2 : 4;

__device__ __forceinline__ size_t FirstPick(const ExpertArgs& args) {
  return (size_t(blockIdx.y) * args.heads + blockIdx.x) * args.top_k;
}

__device__ __forceinline__ const uint8_t* RecordOf(const KernelArgs& args, int pick) {
  if (pick >= args.experts.top_k) return nullptr;
  const uint32_t id = args.experts.ids[FirstPick(args.experts) + pick];
  if (id == kNoExpert) return nullptr;
  return args.experts.table.records + id * args.geometry.record_bytes;
}

// The same for all warps.
__device__ bool AnyPicked(const ExpertArgs& args) {
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

__device__ float4 LoadX4(const KernelArgs& args, int element) {
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
__device__ void StageX(const KernelArgs& args, float4* x, ExpertBlock& block) {
  using Piece = ExpertPiece<kFormat>;
  const int count = (args.geometry.pieces + 31) / 32 * 32 * Piece::kSlices;
  bool not_finite = false;
  for (int i = threadIdx.x; i < count; i += kThreads) {
    const int slice = i / 32 % Piece::kSlices;
    const int piece = i / (32 * Piece::kSlices) * 32 + i % 32;
    const float4 v = LoadX4(args, Piece::Element(piece, slice));
    StoreShared4(&x[i].x, v.x, v.y, v.z, v.w);
    not_finite |= !AllFinite(v);
  }
  const bool any = __any_sync(kWarp, not_finite);
  if (threadIdx.x % 32 == 0) block.not_finite[threadIdx.x / 32] = any;
}

// x . vector for each, without the scale of int8; a warp's.
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

// What each pick's last vector is multiplied by. A warp has every kWarps-th pick, two at a time, or
// both vectors of one.
template <ExpertFormat kFormat>
__device__ void ComputeFactors(const KernelArgs& args, const float4* x, ExpertBlock& block) {
  const ExpertArgs& experts = args.experts;
  const bool gated = experts.table.kind == ExpertKind::kGatedNeuron;
  bool not_finite = false;
  for (int w = 0; w < kWarps; ++w) not_finite |= block.not_finite[w] != 0;
  const int step = gated ? kWarps : kStreams * kWarps;
  for (int pick = threadIdx.x / 32; pick < experts.top_k; pick += step) {
    const int second = gated ? pick : pick + kWarps;
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

__device__ void TakeWeights(const ExpertArgs& args, ExpertBlock& block) {
  for (int pick = threadIdx.x; pick < args.top_k; pick += kThreads) {
    block.factors[pick] = args.weights[FirstPick(args) + pick];
  }
}

template <ExpertFormat kFormat>
__device__ __forceinline__ void AddPiece(const ExpertPiece<kFormat>& piece, float factor,
                                         float4 (&sums)[ExpertPiece<kFormat>::kSlices]) {
  float4 factors = make_float4(factor, factor, factor, factor);
  if constexpr (ExpertPiece<kFormat>::kScaled) {
    const float4 s = piece.Scales();
    factors = make_float4(factor * s.x, factor * s.y, factor * s.z, factor * s.w);
  }
#pragma unroll
  for (int slice = 0; slice < ExpertPiece<kFormat>::kSlices; ++slice) {
    AddProduct(sums[slice], factors, piece.Slice(slice));
  }
}

// Adds the groups' sums to those of the first, in order.
template <int kSlices>
__device__ void AddGroups(float4 (&sums)[kSlices], float4* room, int groups) {
  const int threads = kThreads / groups, thread = threadIdx.x % threads;
  const int group = threadIdx.x / threads;
#pragma unroll
  for (int slice = 0; slice < kSlices; ++slice) {
    const float4 v = sums[slice];
    if (group > 0) {
      StoreShared4(&room[((group - 1) * kSlices + slice) * threads + thread].x, v.x, v.y, v.z, v.w);
    }
  }
  __syncthreads();
  if (group > 0) return;
  for (int other = 0; other + 1 < groups; ++other) {
#pragma unroll
    for (int slice = 0; slice < kSlices; ++slice) {
      AddProduct(sums[slice], 1.0f, room[(other * kSlices + slice) * threads + thread]);
    }
  }
}

template <ExpertFormat kFormat>
__device__ void StorePiece(const KernelArgs& args, int piece,
                           const float4 (&sums)[ExpertPiece<kFormat>::kSlices]) {
  const int width = args.experts.table.width;
  float* row =
      args.experts.partials + (size_t(blockIdx.y) * args.experts.heads + blockIdx.x) * width;
#pragma unroll
  for (int slice = 0; slice < ExpertPiece<kFormat>::kSlices; ++slice) {
    const int element = ExpertPiece<kFormat>::Element(piece, slice);
    if (element >= width) continue;
    if (args.wide_partials) {
      *reinterpret_cast<float4*>(row + element) = sums[slice];
      continue;
    }
    row[element] = sums[slice].x;
    if (element + 1 < width) row[element + 1] = sums[slice].y;
    if (element + 2 < width) row[element + 2] = sums[slice].z;
    if (element + 3 < width) row[element + 3] = sums[slice].w;
  }
}

// The last vectors of some of a group's picks.
template <ExpertFormat kFormat>
__device__ __forceinline__ void LoadLast(const KernelArgs& args, int first_pick, int piece,
                                         ExpertPiece<kFormat> (&pieces)[kPicksAhead]) {
#pragma unroll
  for (int i = 0; i < kPicksAhead; ++i) {
    const ExpertVector last = {RecordOf(args, first_pick + i * args.groups), args.last_vector};
    if (last.record != nullptr && piece < args.geometry.pieces) {
      pieces[i].Load(args.geometry, last, piece);
    }
  }
}

// Grid (head, token). Warps first share the picks to compute their factors, then threads share the
// columns; what a thread needs first of the latter is on its way meanwhile.
template <ExpertFormat kFormat>
__global__ void __launch_bounds__(kThreads, 2) ExpertKernel(KernelArgs args) {
  using Piece = ExpertPiece<kFormat>;
  extern __shared__ __align__(16) unsigned char shared[];
  __shared__ ExpertBlock block;
  auto* room = reinterpret_cast<float4*>(shared);  // the token, then the groups' sums
  const ExpertArgs& experts = args.experts;
  const int threads = kThreads / args.groups, group = threadIdx.x / threads;
  const int pieces = args.geometry.pieces;
  const bool used = AnyPicked(experts);

  Piece ahead[kPicksAhead];
  if (used) LoadLast<kFormat>(args, group, threadIdx.x % threads, ahead);
  if (used && experts.table.kind != ExpertKind::kValue) {
    StageX<kFormat>(args, room, block);
    __syncthreads();
    ComputeFactors<kFormat>(args, room, block);
  } else {
    TakeWeights(experts, block);
  }
  __syncthreads();

  for (int first_piece = 0; first_piece < pieces; first_piece += threads) {
    const int piece = first_piece + threadIdx.x % threads;
    float4 sums[Piece::kSlices] = {};
    for (int pick = group; used && pick < experts.top_k; pick += kPicksAhead * args.groups) {
      if (first_piece > 0 || pick > group) LoadLast<kFormat>(args, pick, piece, ahead);
#pragma unroll
      for (int i = 0; i < kPicksAhead; ++i) {
        const int at = pick + i * args.groups;
        const uint8_t* record = RecordOf(args, at);
        if (record == nullptr) continue;
        const ExpertVector last = {record, args.last_vector};
        AddPiece<kFormat>(ahead[i], block.factors[at] * VectorScale<kFormat>(last), sums);
      }
    }
    if (args.groups > 1) AddGroups<Piece::kSlices>(sums, room, args.groups);
    if (group == 0 && piece < pieces) StorePiece<kFormat>(args, piece, sums);
  }
}

bool IsAligned(const void* p, size_t bytes) { return reinterpret_cast<uintptr_t>(p) % bytes == 0; }

// Powers of two, so that a group is whole warps.
int GroupsFor(int pieces) {
  int groups = kWarps;
  while (groups > 1 && groups * ((pieces + 31) / 32) > kWarps) groups /= 2;
  return groups;
}

template <ExpertFormat kFormat>
cudaError_t Launch(const KernelArgs& args, cudaStream_t stream) {
  using Piece = ExpertPiece<kFormat>;
  const int x_pieces =
      args.experts.table.kind == ExpertKind::kValue ? 0 : (args.geometry.pieces + 31) / 32 * 32;
  const int sum_pieces = (args.groups - 1) * (kThreads / args.groups);
  const size_t shared = size_t(std::max(x_pieces, sum_pieces)) * Piece::kSlices * sizeof(float4);
  const auto kernel = ExpertKernel<kFormat>;
  constexpr size_t kAlwaysThere = 47 << 10;  // beside ExpertBlock
  if (shared > kAlwaysThere) {
    const cudaError_t error =
        cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                             cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared));
    if (error != cudaSuccess) return error;
  }
  return LaunchKernel(kernel, dim3(args.experts.heads, args.experts.count), kThreads, shared,
                      stream, args);
}

}  // namespace

cudaError_t RunExperts(const ExpertArgs& args, cudaStream_t stream) {
  if (args.count == 0) return cudaSuccess;
  if (args.top_k > kMaxTopK) return cudaErrorInvalidValue;
  const ExpertRecordLayout layout(args.table);
  const int width = args.table.width;
  KernelArgs kernel{.experts = args,
                    .geometry = {.record_bytes = args.table.RecordBytes(),
                                 .header_bytes = layout.header_bytes,
                                 .vector_bytes = layout.lines * kLineBytes,
                                 .pieces = layout.lines * kPiecesPerLine,
                                 .segments = layout.segments},
                    .last_vector = args.table.vectors() - 1,
                    .groups = GroupsFor(layout.lines * kPiecesPerLine)};
  kernel.wide_x =
      width % 4 == 0 && args.x_stride % 4 == 0 && IsAligned(args.x, 4 * BytesOf(args.x_type));
  kernel.wide_partials = width % 4 == 0 && IsAligned(args.partials, sizeof(float4));
  switch (args.table.format) {
    case ExpertFormat::kF32:
      return Launch<ExpertFormat::kF32>(kernel, stream);
    case ExpertFormat::kBF16:
      return Launch<ExpertFormat::kBF16>(kernel, stream);
    case ExpertFormat::kInt8:
      return Launch<ExpertFormat::kInt8>(kernel, stream);
    case ExpertFormat::kInt4:
      return Launch<ExpertFormat::kInt4>(kernel, stream);
  }
  return cudaErrorInvalidValue;
}

}  // namespace peerage::kernels::cuda
