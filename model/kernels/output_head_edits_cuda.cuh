// What a request changes of its logits before sampling: bias, penalties, mask, in this order
// (inference.proto; model/nn/cpu/sampler.cc). A block edits its chunk, whatever the lists name.
#pragma once

#include <cfloat>

#include "model/kernels/output_head_row_cuda.cuh"

namespace peerage::kernels::cuda {

// A chunk while it is edited, in shared memory.
struct EditedChunk {
  uint32_t masked[kChunkTokens / 32];  // a bit for each token
  alignas(16) float logits[kChunkTokens];
};

// One after the other, since a token may be named twice. By one warp.
__device__ __forceinline__ void AddBiases(const TokenBias* biases, int count, uint32_t first,
                                          float* logits) {
  for (int begin = 0; begin < count; begin += 32) {
    const int i = begin + static_cast<int>(threadIdx.x);
    const TokenBias mine = i < count ? biases[i] : TokenBias{first + kChunkTokens, 0};
    const uint32_t at = mine.token - first;
    for (unsigned todo = __ballot_sync(kWarp, at < kChunkTokens); todo != 0; todo &= todo - 1) {
      if ((todo & -todo) == 1u << threadIdx.x) logits[at] += mine.bias;
      __syncwarp();
    }
  }
}

__device__ __forceinline__ float Penalized(float logit, const RowRequest& request, uint32_t count) {
  if (!(fabsf(logit) < INFINITY)) return logit;
  logit = logit > 0 ? __fdiv_rn(logit, request.repetition_penalty)
                    : __fmul_rn(logit, request.repetition_penalty);
  logit = __fsub_rn(logit, __fmul_rn(request.frequency_penalty, static_cast<float>(count)));
  if (count > 0) logit = __fsub_rn(logit, request.presence_penalty);
  return fminf(fmaxf(logit, -FLT_MAX), FLT_MAX);  // a tiny penalty divides beyond f32
}

__device__ __forceinline__ void Penalize(const SeenToken* seen, const RowRequest& request,
                                         uint32_t first, float* logits) {
  for (int i = threadIdx.x; i < request.seen; i += kChunkThreads) {
    const SeenToken token = seen[request.first_seen + i];
    const uint32_t at = token.token - first;
    if (at < kChunkTokens) logits[at] = Penalized(logits[at], request, token.count);
  }
}

__device__ __forceinline__ void MarkMasked(const uint32_t* masked, int count, uint32_t first,
                                           uint32_t* bits) {
  for (int i = threadIdx.x; i < count; i += kChunkThreads) {
    const uint32_t at = masked[i] - first;
    if (at < kChunkTokens) atomicOr(&bits[at / 32], 1u << at % 32);
  }
}

// Bias and penalties. The mask, which is ignored if it leaves nothing, stays bits for now.
__device__ __forceinline__ void Edit(const StageArgs& args, const RowRequest& request,
                                     EditedChunk& edited, ChunkLogits& chunk) {
  const uint32_t first = blockIdx.x * kChunkTokens;
#pragma unroll
  for (int p = 0; p < kPieces; ++p) {
    StoreShared4(edited.logits + (p * kChunkThreads + threadIdx.x) * 4, chunk.x[p][0],
                 chunk.x[p][1], chunk.x[p][2], chunk.x[p][3]);
  }
  if (threadIdx.x < kChunkTokens / 32) edited.masked[threadIdx.x] = 0;
  __syncthreads();
  if (threadIdx.x < 32) {
    AddBiases(args.report.biases + request.first_bias, request.biases, first, edited.logits);
  }
  MarkMasked(args.report.masked + request.first_masked, request.masked, first, edited.masked);
  __syncthreads();
  Penalize(args.report.seen, request, first, edited.logits);
  __syncthreads();
#pragma unroll
  for (int p = 0; p < kPieces; ++p) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      chunk.x[p][e] = edited.logits[(p * kChunkThreads + threadIdx.x) * 4 + e];
    }
  }
}

__device__ __forceinline__ void ApplyMask(const EditedChunk& edited, ChunkLogits& chunk) {
#pragma unroll
  for (int p = 0; p < kPieces; ++p) {
    const int at = (p * kChunkThreads + threadIdx.x) * 4;
    const uint32_t bits = edited.masked[at / 32] >> at % 32;
#pragma unroll
    for (int e = 0; e < 4; ++e) chunk.x[p][e] = bits >> e & 1 ? -INFINITY : chunk.x[p][e];
  }
}

}  // namespace peerage::kernels::cuda
