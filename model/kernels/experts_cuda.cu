#include <algorithm>

#include "model/kernels/expert_factors_cuda.cuh"
#include "model/kernels/experts_cuda.h"

namespace peerage::kernels::cuda {
namespace {

constexpr int kPicksAhead = 4;  // whose last vectors a thread loads at once

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
  const int threads = kExpertThreads / groups, thread = threadIdx.x % threads;
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
__device__ void StorePiece(const ExpertKernelArgs& args, int piece,
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
__device__ __forceinline__ void LoadLast(const ExpertKernelArgs& args, int first_pick, int piece,
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
__global__ void __launch_bounds__(kExpertThreads, 2) ExpertKernel(ExpertKernelArgs args) {
  using Piece = ExpertPiece<kFormat>;
  extern __shared__ __align__(16) unsigned char shared[];
  __shared__ ExpertBlock block;
  auto* room = reinterpret_cast<float4*>(shared);  // the token, then the groups' sums
  const ExpertArgs& experts = args.experts;
  const int threads = kExpertThreads / args.groups, group = threadIdx.x / threads;
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
  int groups = kExpertWarps;
  while (groups > 1 && groups * ((pieces + 31) / 32) > kExpertWarps) groups /= 2;
  return groups;
}

template <ExpertFormat kFormat>
cudaError_t Launch(const ExpertKernelArgs& args, cudaStream_t stream) {
  using Piece = ExpertPiece<kFormat>;
  const int x_pieces =
      args.experts.table.kind == ExpertKind::kValue ? 0 : (args.geometry.pieces + 31) / 32 * 32;
  const int sum_pieces = (args.groups - 1) * (kExpertThreads / args.groups);
  const size_t shared = size_t(std::max(x_pieces, sum_pieces)) * Piece::kSlices * sizeof(float4);
  const auto kernel = ExpertKernel<kFormat>;
  if (const cudaError_t error = AllowShared(kernel, shared)) return error;
  return LaunchKernel(kernel, dim3(args.experts.heads, args.experts.count), kExpertThreads, shared,
                      stream, args);
}

}  // namespace

cudaError_t RunExperts(const ExpertArgs& args, cudaStream_t stream) {
  if (args.count == 0) return cudaSuccess;
  if (args.top_k > kMaxTopK) return cudaErrorInvalidValue;
  const ExpertRecordLayout layout(args.table);
  const int width = args.table.width;
  ExpertKernelArgs kernel{.experts = args,
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
    case ExpertFormat::kFp8:
      return Launch<ExpertFormat::kFp8>(kernel, stream);
  }
  return cudaErrorInvalidValue;
}

}  // namespace peerage::kernels::cuda
