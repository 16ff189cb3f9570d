// Where top_k and top_p cut a row: by a histogram, to the bin; see output_head_stages_cuda.h.
#include "model/kernels/output_head_row_cuda.cuh"

namespace peerage::kernels::cuda {
namespace {

constexpr int kWarps = kChunkThreads / 32;

// Tokens of the last bin weigh nothing: no cut among them shows.
__device__ __forceinline__ void CountChunk(const RowLogits& row, const Weights& weights,
                                           uint32_t* tokens, SharedSum* units) {
  const ChunkLogits chunk = LoadChunk(row);
#pragma unroll
  for (int p = 0; p < kPieces; ++p) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const float scaled = weights.Scaled(chunk.x[p][e]);
      const int bin = BinOf(scaled);
      if (bin == kWeightlessBin) continue;
      atomicAdd(&tokens[bin], 1u);
      AddShared(units[bin], Units(Exp(scaled)));
    }
  }
}

// Grid (chunk, row).
__global__ void __launch_bounds__(kChunkThreads, 4) WeighKernel(StageArgs args) {
  __shared__ uint32_t tokens[kBins];
  __shared__ SharedSum units[kBins];
  const RowRequest& request = args.report.requests[blockIdx.y];
  if (!Draws(request) || !Truncates(request, args.report.vocabulary)) return;
  const RowSummary summary = Summarize(args, blockIdx.y);
  if (summary.failed) return;
  for (int i = threadIdx.x; i < kBins; i += kChunkThreads) {
    tokens[i] = 0;
    units[i] = AsSharedSum(0);
  }
  __syncthreads();
  CountChunk(EditedLogits(args, blockIdx.y, summary.ignores_mask), WeightsOf(request, summary),
             tokens, units);
  __syncthreads();
  RowHistogram& histogram = args.scratch.histograms[blockIdx.y];
  for (int i = threadIdx.x; i < kBins; i += kChunkThreads) {
    if (tokens[i] == 0) continue;
    atomicAdd(&histogram.tokens[i], tokens[i]);
    atomicAdd(reinterpret_cast<unsigned long long*>(&histogram.units[i]), ValueOf(units[i]));
  }
}

// What lies in each bin and those before it. Threads have four bins each, which gaps between the
// fours keep on banks of their own.
struct RunningSums {
  static constexpr int kFour = kBins / kChunkThreads;
  static_assert(kFour == 4);
  uint64_t sums[kBins + kBins / kFour];

  __device__ __forceinline__ uint64_t& At(int bin) { return sums[bin + bin / kFour]; }
  __device__ __forceinline__ uint64_t Before(int bin) { return bin == 0 ? 0 : At(bin - 1); }

  // The first bin that reaches the target; kBins when none does.
  __device__ __forceinline__ int FirstToReach(uint64_t target) {
    int first = 0;
    for (int size = kBins; size > 0;) {
      const int half = size / 2;
      const bool is_behind = At(first + half) < target;
      first += is_behind ? half + 1 : 0;
      size = is_behind ? size - half - 1 : half;
    }
    return first;
  }

  // In the place of numbers, those and all before them.
  __device__ __forceinline__ void SumUp(uint64_t* scratch) {
    uint64_t* mine = &At(threadIdx.x * kFour);
    const uint64_t own = mine[0] + mine[1] + mine[2] + mine[3];
    uint64_t sum = BlockRunningSum<kChunkThreads>(own, scratch).before;
#pragma unroll
    for (int i = 0; i < kFour; ++i) mine[i] = sum += mine[i];
  }
};

struct RunningHistogram {
  RunningSums tokens, units;
};

__device__ __forceinline__ void SumUp(const RowHistogram& histogram, uint64_t* scratch,
                                      RunningHistogram& running) {
  for (int i = threadIdx.x; i < kBins; i += kChunkThreads) {
    running.tokens.At(i) = histogram.tokens[i];
    running.units.At(i) = histogram.units[i];
  }
  __syncthreads();
  running.tokens.SumUp(scratch);
  running.units.SumUp(scratch);
  __syncthreads();
}

// What top_k keeps of its bin is not known yet, so top_p cuts in one of a few bins.
__device__ __forceinline__ Cut FindCut(const RowRequest& request, int vocabulary,
                                       RunningHistogram& running) {
  RunningSums& units = running.units;
  Cut cut;
  if (CutsTopK(request, vocabulary)) cut.top_k_bin = running.tokens.FirstToReach(request.top_k);
  cut.units_before_top_k = units.Before(cut.top_k_bin);
  cut.certain = cut.top_k_bin;
  uint64_t most = cut.units_before_top_k;
  if (cut.top_k_bin < kBins) {
    cut.keep_of_top_k_bin = request.top_k - running.tokens.Before(cut.top_k_bin);
    most = units.At(cut.top_k_bin);
  }
  if (request.top_p < 1) {
    cut.nucleus_first = units.FirstToReach(NucleusTarget(request.top_p, cut.units_before_top_k));
    cut.nucleus_last = units.FirstToReach(NucleusTarget(request.top_p, most));
    cut.units_before_nucleus = units.Before(cut.nucleus_first);
    cut.certain = cut.nucleus_first;
  }
  return cut;
}

struct Gathered {
  uint64_t units;       // of tokens that are kept for certain
  uint32_t candidates;  // a bit for each token of the thread
};

__device__ __forceinline__ Gathered Sort(const ChunkLogits& chunk, const Weights& weights,
                                         float min_p, const Cut& cut) {
  Gathered gathered = {0, 0};
#pragma unroll
  for (int p = 0; p < kPieces; ++p) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const float scaled = weights.Scaled(chunk.x[p][e]);
      const int bin = BinOf(scaled);
      if (IsCandidate(cut, bin)) gathered.candidates |= 1u << (p * 4 + e);
      if (bin >= cut.certain) continue;
      const float weight = Exp(scaled);
      if (weight >= min_p) gathered.units += Units(weight);
    }
  }
  return gathered;
}

// Grid (chunk, row).
__global__ void __launch_bounds__(kChunkThreads, 4) GatherKernel(StageArgs args) {
  __shared__ uint64_t sums[kWarps];
  __shared__ RunningHistogram running;
  __shared__ Cut cut;
  __shared__ uint32_t first;
  const RowRequest& request = args.report.requests[blockIdx.y];
  if (!Draws(request)) return;
  const RowSummary summary = Summarize(args, blockIdx.y);
  if (summary.failed) return;
  const ReportScratch& scratch = args.scratch;
  const bool truncates = Truncates(request, args.report.vocabulary);
  if (truncates) SumUp(scratch.histograms[blockIdx.y], sums, running);
  if (threadIdx.x == 0) {
    cut = truncates ? FindCut(request, args.report.vocabulary, running) : Cut{};
    if (blockIdx.x == 0) scratch.cuts[blockIdx.y] = cut;
  }
  __syncthreads();

  const ChunkLogits chunk = LoadChunk(EditedLogits(args, blockIdx.y, summary.ignores_mask));
  const Gathered gathered = Sort(chunk, WeightsOf(request, summary), request.min_p, cut);
  const RunningSum units = BlockRunningSum<kChunkThreads>(gathered.units, sums);
  const RunningSum places = BlockRunningSum<kChunkThreads>(__popc(gathered.candidates), sums);
  if (threadIdx.x == 0) {
    scratch.units[size_t(blockIdx.y) * scratch.chunks + blockIdx.x] = units.total;
    first = places.total == 0 ? 0
                              : atomicAdd(&scratch.candidate_counts[blockIdx.y],
                                          static_cast<uint32_t>(places.total));
  }
  __syncthreads();
  uint32_t* to = scratch.candidates + size_t(blockIdx.y) * scratch.stride + first + places.before;
#pragma unroll
  for (int i = 0; i < kPieces * 4; ++i) {
    if (gathered.candidates >> i & 1) *to++ = PieceStart(i / 4) + i % 4;
  }
}

}  // namespace

cudaError_t Weigh(const StageArgs& args, cudaStream_t stream) {
  return LaunchKernel(WeighKernel, dim3(args.scratch.chunks, args.report.count), kChunkThreads, 0,
                      stream, args);
}

cudaError_t Gather(const StageArgs& args, cudaStream_t stream) {
  return LaunchKernel(GatherKernel, dim3(args.scratch.chunks, args.report.count), kChunkThreads, 0,
                      stream, args);
}

}  // namespace peerage::kernels::cuda
