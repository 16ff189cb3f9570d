#include "model/kernels/best_tokens_cuda.cuh"
#include "model/kernels/output_head_edits_cuda.cuh"
#include "model/kernels/output_head_row_cuda.cuh"

namespace peerage::kernels::cuda {
namespace {

constexpr int kWarps = kChunkThreads / 32;
constexpr uint64_t kWrongRank = ~uint64_t{0};  // above every token's

// The thread's best token of those without a bit in `taken`, which it then has; 0: none is left.
// Ids ascend, so that the first of equals stays.
__device__ __forceinline__ uint64_t TakeBest(const ChunkLogits& chunk, uint32_t& taken) {
  float most = -INFINITY;
  int best = -1;
#pragma unroll
  for (int i = 0; i < kPieces * 4; ++i) {
    const float x = chunk.x[i / 4][i % 4];
    const bool is_better = (taken >> i & 1) == 0 && (best < 0 || x > most);
    most = is_better ? x : most;
    best = is_better ? i : best;
  }
  if (best < 0) return 0;
  taken |= 1u << best;
  return TokenRank(most, PieceStart(best / 4) + best % 4);
}
__device__ __forceinline__ uint64_t BestOfThread(const ChunkLogits& chunk) {
  uint32_t taken = 0;
  return TakeBest(chunk, taken);
}

__device__ __forceinline__ bool HoldsWrong(const ChunkLogits& chunk) {
  bool wrong = false;
#pragma unroll
  for (int p = 0; p < kPieces; ++p) {
#pragma unroll
    for (int e = 0; e < 4; ++e) wrong = wrong || !(chunk.x[p][e] < INFINITY);
  }
  return wrong;
}

__device__ __forceinline__ float SumOfExp(const ChunkLogits& chunk, float most) {
  float sum = 0;
#pragma unroll
  for (int p = 0; p < kPieces; ++p) {
#pragma unroll
    for (int e = 0; e < 4; ++e) sum += Exp(chunk.x[p][e] - most);
  }
  return sum;
}

// The chunk's n best tokens: of each warp, then of these. `best` has room for kWarps * n.
__device__ __forceinline__ void WriteBest(const ChunkLogits& chunk, int n, uint64_t* best,
                                          uint64_t* to) {
  uint32_t taken = 0;
  WarpBest(n, best + threadIdx.x / 32 * n, [&] { return TakeBest(chunk, taken); });
  __syncthreads();
  if (threadIdx.x < 32) {
    MergeBest<kWarps * kMostAlternatives / 32>(kWarps * n, n, to, [&](int i) { return best[i]; });
  }
}

__device__ __forceinline__ void WriteEdited(const ReportScratch& scratch, const EditedChunk& edited,
                                            const ChunkLogits& chunk) {
  float* logits = scratch.edited + size_t(blockIdx.y) * scratch.stride;
#pragma unroll
  for (int p = 0; p < kPieces; ++p) {
    if (PieceStart(p) >= scratch.stride) continue;
    *reinterpret_cast<float4*>(logits + PieceStart(p)) =
        make_float4(chunk.x[p][0], chunk.x[p][1], chunk.x[p][2], chunk.x[p][3]);
  }
  constexpr int kWords = kChunkTokens / 32;
  uint32_t* masked = scratch.masked + (size_t(blockIdx.y) * scratch.chunks + blockIdx.x) * kWords;
  if (threadIdx.x < kWords) masked[threadIdx.x] = edited.masked[threadIdx.x];
}

// What later kernels add to.
__device__ __forceinline__ void ClearRow(const ReportScratch& scratch) {
  RowHistogram& histogram = scratch.histograms[blockIdx.y];
  for (int i = threadIdx.x; i < kBins; i += kChunkThreads) {
    histogram.units[i] = 0;
    histogram.tokens[i] = 0;
  }
}

// Grid (chunk, row).
__global__ void __launch_bounds__(kChunkThreads, 4) ScanKernel(StageArgs args) {
  __shared__ uint64_t ranks[kWarps], best[kWarps * kMostAlternatives];
  __shared__ float sums[kWarps];
  __shared__ EditedChunk edited;
  const RowRequest& request = args.report.requests[blockIdx.y];
  if (request.token_row < 0) return;
  const size_t at = size_t(blockIdx.y) * args.scratch.chunks + blockIdx.x;
  ChunkLogits chunk = LoadChunk(RawLogits(args, blockIdx.y));

  ChunkSummary summary;
  summary.best =
      BlockMax<kChunkThreads>(HoldsWrong(chunk) ? kWrongRank : BestOfThread(chunk), ranks);
  summary.wrong = summary.best == kWrongRank ? 1 : 0;
  summary.best_unmasked = summary.best;
  summary.most = LogitOf(summary.best);
  if (WantsLogprobs(request) && summary.most > -INFINITY) {
    summary.sum = BlockSum<kChunkThreads>(SumOfExp(chunk, summary.most), sums);
  }
  if (const int n = Alternatives(request, args.report.vocabulary); n > 0) {
    WriteBest(chunk, n, best, args.scratch.best + at * kMostAlternatives);
  }
  if (blockIdx.x == 0 && Draws(request)) ClearRow(args.scratch);
  if (HasEdits(request)) {
    Edit(args, request, edited, chunk);
    summary.best_unmasked = BlockMax<kChunkThreads>(BestOfThread(chunk), ranks);
    if (request.temperature > 0) WriteEdited(args.scratch, edited, chunk);
    ApplyMask(edited, chunk);
    summary.best = BlockMax<kChunkThreads>(BestOfThread(chunk), ranks);
  }
  if (threadIdx.x == 0) {
    args.scratch.summaries[at] = summary;
    if (blockIdx.x == 0) args.scratch.candidate_counts[blockIdx.y] = 0;
  }
}

}  // namespace

cudaError_t Scan(const StageArgs& args, cudaStream_t stream) {
  return LaunchKernel(ScanKernel, dim3(args.scratch.chunks, args.report.count), kChunkThreads, 0,
                      stream, args);
}

}  // namespace peerage::kernels::cuda
