// What the kernels of output_head_stages_cuda.h share: a row's logits, their order, their weights.
#pragma once

#include "model/kernels/block_sum_cuda.cuh"
#include "model/kernels/device_cuda.cuh"
#include "model/kernels/exp_cuda.cuh"
#include "model/kernels/output_head_stages_cuda.h"

namespace peerage::kernels::cuda {

// ---- the order of tokens: the higher logit first, the lower id on ties; 0 for none
inline constexpr int kIdBits = 18;
inline constexpr int kRankBits = 32 + kIdBits;
__device__ __forceinline__ uint64_t TokenRank(float logit, uint32_t id) {
  return uint64_t{OrderedKey(logit + 0.0f)} << kIdBits | (kMostTokens - 1 - id);  // -0 equals 0
}
__device__ __forceinline__ float LogitOf(uint64_t rank) {
  return FromOrderedKey(static_cast<uint32_t>(rank >> kIdBits));
}
__device__ __forceinline__ uint32_t TokenOf(uint64_t rank) {
  return kMostTokens - 1 - (static_cast<uint32_t>(rank) & (kMostTokens - 1));
}

// ---- what a row asks for
__device__ __forceinline__ bool HasEdits(const RowRequest& request) {
  return request.sample != 0 && (request.biases | request.seen | request.masked) != 0;
}
__device__ __forceinline__ bool Draws(const RowRequest& request) {
  return request.token_row >= 0 && request.sample != 0 && request.temperature > 0;
}
__device__ __forceinline__ bool CutsTopK(const RowRequest& request, int vocabulary) {
  return request.top_k > 0 && request.top_k < static_cast<uint32_t>(vocabulary);
}
__device__ __forceinline__ bool Truncates(const RowRequest& request, int vocabulary) {
  return request.top_p < 1 || CutsTopK(request, vocabulary);
}
__device__ __forceinline__ int Alternatives(const RowRequest& request, int vocabulary) {
  return min(request.alternatives, min(kMostAlternatives, vocabulary));
}
__device__ __forceinline__ bool WantsLogprobs(const RowRequest& request) {
  return request.sample == 0 || request.alternatives >= 0;
}

// ---- a row's logits, four by four
struct RowLogits {
  const float* x;
  const uint32_t* masked;  // a bit for each token that is -infinity, or null
  int size;
  bool aligned;

  // Of tokens i to i + 3; -infinity behind the last. Precondition: i is a multiple of 4.
  __device__ __forceinline__ float4 Four(int i) const {
    float4 v = make_float4(-INFINITY, -INFINITY, -INFINITY, -INFINITY);
    if (i >= size) return v;
    if (aligned) {
      v = *reinterpret_cast<const float4*>(x + i);
    } else {
      v.x = x[i];
      if (i + 1 < size) v.y = x[i + 1];
      if (i + 2 < size) v.z = x[i + 2];
      if (i + 3 < size) v.w = x[i + 3];
    }
    if (masked != nullptr) {
      const uint32_t bits = masked[i / 32] >> (i % 32);
      if (bits & 1) v.x = -INFINITY;
      if (bits & 2) v.y = -INFINITY;
      if (bits & 4) v.z = -INFINITY;
      if (bits & 8) v.w = -INFINITY;
    }
    return v;
  }
};
__device__ __forceinline__ RowLogits RawLogits(const StageArgs& args, uint32_t row) {
  return {args.report.logits + size_t(row) * args.report.vocabulary, nullptr,
          args.report.vocabulary, args.aligned};
}
// What a row is sampled from.
__device__ __forceinline__ RowLogits EditedLogits(const StageArgs& args, uint32_t row,
                                                  bool ignores_mask) {
  const RowRequest& request = args.report.requests[row];
  if (!HasEdits(request)) return RawLogits(args, row);
  const ReportScratch& scratch = args.scratch;
  const uint32_t* masked = scratch.masked + size_t(row) * scratch.chunks * (kChunkTokens / 32);
  return {scratch.edited + size_t(row) * scratch.stride,
          request.masked == 0 || ignores_mask ? nullptr : masked, args.report.vocabulary, true};
}

// A block's share of a row: a thread has kPieces times four tokens.
inline constexpr int kPieces = kChunkTokens / kChunkThreads / 4;
__device__ __forceinline__ int PieceStart(int piece) {
  return blockIdx.x * kChunkTokens + (piece * kChunkThreads + threadIdx.x) * 4;
}
struct ChunkLogits {
  float x[kPieces][4];
};
__device__ __forceinline__ ChunkLogits LoadChunk(const RowLogits& row) {
  ChunkLogits chunk;
#pragma unroll
  for (int p = 0; p < kPieces; ++p) {
    const float4 v = row.Four(PieceStart(p));
    chunk.x[p][0] = v.x;
    chunk.x[p][1] = v.y;
    chunk.x[p][2] = v.z;
    chunk.x[p][3] = v.w;
  }
  return chunk;
}

// ---- what Scan found in all chunks of a row
struct RowSummary {
  uint64_t best;      // after edits
  float most;         // raw
  bool failed;        // no distribution: a NaN, +infinity, or nothing finite
  bool ignores_mask;  // because it would leave nothing
};
// Every warp finds it for itself.
__device__ __forceinline__ RowSummary Summarize(const StageArgs& args, uint32_t row) {
  const ChunkSummary* chunks = args.scratch.summaries + size_t(row) * args.scratch.chunks;
  uint64_t best = 0, best_unmasked = 0;
  uint32_t most = 0;
  bool wrong = false;
  for (int c = threadIdx.x % 32; c < args.scratch.chunks; c += 32) {
    best = max(best, chunks[c].best);
    best_unmasked = max(best_unmasked, chunks[c].best_unmasked);
    most = max(most, OrderedKey(chunks[c].most));
    wrong = wrong || chunks[c].wrong != 0;
  }
  best = WarpMax(best);
  best_unmasked = WarpMax(best_unmasked);
  const float highest = FromOrderedKey(__reduce_max_sync(kWarp, most));
  const bool ignores_mask = !(LogitOf(best) > -INFINITY);
  return {ignores_mask ? best_unmasked : best, highest,
          __any_sync(kWarp, wrong) || highest == -INFINITY, ignores_mask};
}

// ---- weights, as model/nn/cpu/sampler.cc has them
struct Weights {
  float highest, scale;  // 1 / temperature

  __device__ __forceinline__ float Scaled(float logit) const {
    return __fmul_rn(__fsub_rn(logit, highest), scale);
  }
};
__device__ __forceinline__ Weights WeightsOf(const RowRequest& request, const RowSummary& summary) {
  return {LogitOf(summary.best), __fdiv_rn(1.0f, request.temperature)};
}
// A weight in [0, 1] in units of 2^-40.
__device__ __forceinline__ uint64_t Units(float weight) {
  return __float2ull_rn(__fmul_rn(weight, 0x1p40f));
}
// Bins are narrow where weight is; the last begins where units are 0 (41 ln 2 = 28.42).
__device__ __forceinline__ int BinOf(float scaled) {
  return static_cast<int>(fminf(__fmul_rn(-scaled, 35.9f), kBins - 1));
}
inline constexpr int kWeightlessBin = kBins - 1;

// Whether a cut may fall in a bin, or what top_k keeps of it counts.
__device__ __forceinline__ bool IsCandidate(const Cut& cut, int bin) {
  return bin == cut.top_k_bin || (bin >= cut.nucleus_first && bin <= cut.nucleus_last);
}

// The fewest units that are at least a share of them: ceil(top_p * units), at least 1. (Exactly;
// the CPU rounds the product to 53 bits first.)
__device__ __forceinline__ uint64_t NucleusTarget(float top_p, uint64_t units) {
  const uint32_t bits = __float_as_uint(top_p);
  const int exponent = static_cast<int>(bits >> 23);
  const uint64_t mantissa = (bits & 0x7fffff) | (exponent == 0 ? 0 : 0x800000);
  const int shift = 150 - max(exponent, 1);  // top_p = mantissa / 2^shift, shift >= 24
  const uint64_t high = __umul64hi(units, mantissa), low = units * mantissa;
  uint64_t whole = 0, rest = high | low;
  if (shift < 64) {
    whole = high << (64 - shift) | low >> shift;
    rest = low << (64 - shift);
  } else if (shift < 128) {
    whole = high >> (shift - 64);
    rest = low | (shift > 64 ? high << (128 - shift) : 0);
  }
  return min(max(whole + (rest != 0 ? 1 : 0), uint64_t{1}), max(units, uint64_t{1}));
}

}  // namespace peerage::kernels::cuda
