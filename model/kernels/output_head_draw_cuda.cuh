// One block draws a row's token: the exact cuts among the candidates, then the token that holds a
// random unit, in order of id.
#pragma once

#include "model/kernels/output_head_row_cuda.cuh"

namespace peerage::kernels::cuda {

inline constexpr int kDrawThreads = 512;
inline constexpr int kDigitBits = 10;  // kBins
static_assert(1 << kDigitBits == kBins && kRankBits % kDigitBits == 0);

struct DrawShared {
  SharedSum bins[kBins];
  SharedSum chunks[kMostChunks];
  uint64_t sums[kDrawThreads / 32];
  uint64_t left;  // of a target, behind what was found
  uint32_t found;
};

// A token that a cut may leave out.
struct Candidate {
  uint64_t rank;
  float scaled;
  int bin;

  __device__ __forceinline__ float weight() const { return Exp(scaled); }
};

struct RowDraw {
  const RowRequest& request;
  RowLogits logits;
  Weights weights;
  Cut cut;
  const uint32_t* candidates;
  uint32_t count;         // of candidates
  const uint64_t* units;  // [chunks], kept for certain
  int chunks;

  __device__ __forceinline__ Candidate At(uint32_t i) const {
    const uint32_t id = candidates[i];
    const float logit = logits.x[id];  // not masked: then it would weigh nothing
    const float scaled = weights.Scaled(logit);
    return {TokenRank(logit, id), scaled, BinOf(scaled)};
  }
  __device__ __forceinline__ bool IsInNucleusBins(const Candidate& candidate) const {
    return candidate.bin >= cut.nucleus_first && candidate.bin <= cut.nucleus_last;
  }
};

// In shared.found the one piece that holds unit shared.left, of those that threads have in order;
// in shared.left the unit within it.
template <int kEach>
__device__ __forceinline__ void FindUnit(const uint64_t (&units)[kEach], uint64_t unit,
                                         DrawShared& shared) {
  uint64_t own = 0;
#pragma unroll
  for (int i = 0; i < kEach; ++i) own += units[i];
  const uint64_t before = BlockRunningSum<kDrawThreads>(own, shared.sums).before;
  if (before <= unit && unit < before + own) {
    uint64_t left = unit - before;
    int found = 0;
#pragma unroll
    for (int i = 0; i + 1 < kEach; ++i) {
      if (found == i && left >= units[i]) {
        left -= units[i];
        found = i + 1;
      }
    }
    shared.left = left;
    shared.found = threadIdx.x * kEach + found;
  }
  __syncthreads();
}

// The rank of the candidate that holds a unit of all amounts, from the best candidate on: by a
// radix descent. amount_of(candidate) is 0 for those that do not count.
template <class AmountOf>
__device__ uint64_t RankThatHolds(uint64_t unit, const RowDraw& row, DrawShared& shared,
                                  AmountOf amount_of) {
  constexpr int kEach = kBins / kDrawThreads;
  uint64_t prefix = 0;
  for (int shift = kRankBits - kDigitBits; shift >= 0; shift -= kDigitBits) {
    for (int i = threadIdx.x; i < kBins; i += kDrawThreads) shared.bins[i] = AsSharedSum(0);
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < row.count; i += kDrawThreads) {
      const Candidate candidate = row.At(i);
      if (candidate.rank >> shift >> kDigitBits != prefix) continue;
      const uint64_t amount = amount_of(candidate);
      const auto digit = static_cast<uint32_t>(candidate.rank >> shift) % kBins;
      if (amount != 0) AddShared(shared.bins[kBins - 1 - digit], amount);
    }
    __syncthreads();
    uint64_t amounts[kEach];
#pragma unroll
    for (int i = 0; i < kEach; ++i) amounts[i] = ValueOf(shared.bins[threadIdx.x * kEach + i]);
    FindUnit(amounts, unit, shared);
    prefix = prefix << kDigitBits | (kBins - 1 - shared.found);
    unit = shared.left;
  }
  return prefix;
}

// The rank of the last token that is kept; 0: all are.
__device__ __forceinline__ uint64_t LastRank(const RowDraw& row, DrawShared& shared) {
  const Cut& cut = row.cut;
  uint64_t last = 0, kept = cut.units_before_top_k;
  if (cut.top_k_bin < kBins) {
    last = RankThatHolds(cut.keep_of_top_k_bin - 1, row, shared,
                         [&](const Candidate& c) { return uint64_t{c.bin == cut.top_k_bin}; });
    uint64_t own = 0;
    for (uint32_t i = threadIdx.x; i < row.count; i += kDrawThreads) {
      const Candidate c = row.At(i);
      own += c.bin == cut.top_k_bin && c.rank >= last ? Units(c.weight()) : 0;
    }
    kept += BlockRunningSum<kDrawThreads>(own, shared.sums).total;
  }
  if (row.request.top_p >= 1) return last;
  const uint64_t target = NucleusTarget(row.request.top_p, kept) - cut.units_before_nucleus;
  return RankThatHolds(target - 1, row, shared, [&](const Candidate& c) {
    return row.IsInNucleusBins(c) && c.rank >= last ? Units(c.weight()) : 0;
  });
}

// The chunk that holds the random unit, in shared.found; the unit within it in shared.left.
__device__ __forceinline__ void FindChunk(const RowDraw& row, uint64_t last, DrawShared& shared) {
  const bool is_chunk = static_cast<int>(threadIdx.x) < row.chunks;
  if (is_chunk) shared.chunks[threadIdx.x] = AsSharedSum(row.units[threadIdx.x]);
  __syncthreads();
  for (uint32_t i = threadIdx.x; i < row.count; i += kDrawThreads) {
    const Candidate c = row.At(i);
    const float weight = c.weight();
    if (c.rank < last || weight < row.request.min_p) continue;
    AddShared(shared.chunks[row.candidates[i] / kChunkTokens], Units(weight));
  }
  __syncthreads();
  const uint64_t units[] = {is_chunk ? ValueOf(shared.chunks[threadIdx.x]) : 0};
  const uint64_t total = BlockRunningSum<kDrawThreads>(units[0], shared.sums).total;
  FindUnit(units, __umul64hi(row.request.random, total), shared);
}

// What a token still weighs after all cuts.
__device__ __forceinline__ uint64_t KeptUnits(const RowDraw& row, uint64_t last, float logit,
                                              uint32_t id) {
  const float weight = Exp(row.weights.Scaled(logit));
  return TokenRank(logit, id) >= last && weight >= row.request.min_p ? Units(weight) : 0;
}

__device__ __forceinline__ uint32_t Draw(const RowDraw& row, DrawShared& shared) {
  constexpr int kEach = kChunkTokens / kDrawThreads;
  const uint64_t last = LastRank(row, shared);
  FindChunk(row, last, shared);
  const uint32_t first = shared.found * kChunkTokens;
  const uint32_t own = first + threadIdx.x * kEach;
  uint64_t units[kEach];
#pragma unroll
  for (int i = 0; i < kEach; i += 4) {
    const float4 x = row.logits.Four(own + i);
    units[i] = KeptUnits(row, last, x.x, own + i);
    units[i + 1] = KeptUnits(row, last, x.y, own + i + 1);
    units[i + 2] = KeptUnits(row, last, x.z, own + i + 2);
    units[i + 3] = KeptUnits(row, last, x.w, own + i + 3);
  }
  FindUnit(units, shared.left, shared);
  return first + shared.found;
}

}  // namespace peerage::kernels::cuda
