#include "model/kernels/best_tokens_cuda.cuh"
#include "model/kernels/output_head_draw_cuda.cuh"
#include "model/kernels/output_head_row_cuda.cuh"

namespace peerage::kernels::cuda {
namespace {

constexpr int kWarps = kDrawThreads / 32;

// log(sum(exp)) of the raw logits: chunks in order. Every warp finds it for itself.
__device__ __forceinline__ float LogSum(const StageArgs& args, const RowSummary& summary) {
  const ChunkSummary* chunks = args.scratch.summaries + size_t(blockIdx.x) * args.scratch.chunks;
  float sum = 0;
  for (int c = threadIdx.x % 32; c < args.scratch.chunks; c += 32) {
    sum += chunks[c].sum * Exp(chunks[c].most - summary.most);
  }
  return summary.most + logf(WarpSum(sum));
}

__device__ __forceinline__ uint32_t SampledToken(const StageArgs& args, const RowRequest& request,
                                                 const RowSummary& summary, DrawShared& shared) {
  if (request.temperature == 0) return TokenOf(summary.best);
  const ReportScratch& scratch = args.scratch;
  const size_t row = blockIdx.x;
  return Draw(
      {request, EditedLogits(args, blockIdx.x, summary.ignores_mask), WeightsOf(request, summary),
       scratch.cuts[row], scratch.candidates + row * scratch.stride, scratch.candidate_counts[row],
       scratch.units + row * scratch.chunks, scratch.chunks},
      shared);
}

// Ranks begin at 1: the Rank kernel adds the better ones.
__device__ __forceinline__ void WriteTargets(const StageArgs& args, const RowRequest& request,
                                             float log_sum) {
  const float* logits = RawLogits(args, blockIdx.x).x;
  for (int i = threadIdx.x; i < request.scores; i += kDrawThreads) {
    const uint32_t token = args.report.targets[request.first_score + i];
    args.report.scores[request.first_score + i] = {token, logits[token] - log_sum, 1};
  }
}

__device__ __forceinline__ void WriteSampled(const StageArgs& args, const RowRequest& request,
                                             uint32_t token, float log_sum) {
  if (threadIdx.x != 0) return;
  args.report.scores[request.first_score] =
      WantsLogprobs(request) ? DeviceScore{token, RawLogits(args, blockIdx.x).x[token] - log_sum, 1}
                             : DeviceScore{token, NAN, 0};
}

// The best of all chunks: of a warp's share of the chunks, then of these.
__device__ __forceinline__ void WriteAlternatives(const StageArgs& args, const RowRequest& request,
                                                  float log_sum, uint64_t* best) {
  constexpr int kMostOfWarp = kMostChunks / kWarps * kMostAlternatives;
  const int n = Alternatives(request, args.report.vocabulary);
  const int warp = threadIdx.x / 32, chunks = args.scratch.chunks;
  const int each = (chunks + kWarps - 1) / kWarps, first = warp * each;
  const int count = max(min(each, chunks - first), 0) * n;
  const uint64_t* ranks =
      args.scratch.best + (size_t(blockIdx.x) * chunks + first) * kMostAlternatives;
  MergeBest<(kMostOfWarp + 31) / 32>(
      count, n, best + warp * n, [&](int i) { return ranks[i / n * kMostAlternatives + i % n]; });
  __syncthreads();
  if (warp != 0) return;
  MergeBest<kWarps * kMostAlternatives / 32>(kWarps * n, n, best + kWarps * n,
                                             [&](int i) { return best[i]; });
  __syncwarp();
  if (static_cast<int>(threadIdx.x) >= n) return;
  const uint64_t rank = best[kWarps * n + threadIdx.x];
  args.report.alternatives[request.first_alternative + threadIdx.x] = {TokenOf(rank),
                                                                       LogitOf(rank) - log_sum};
}

// Grid (row).
__global__ void __launch_bounds__(kDrawThreads, 2) FinishKernel(StageArgs args) {
  __shared__ DrawShared shared;
  __shared__ uint64_t best[(kWarps + 1) * kMostAlternatives];
  const RowRequest& request = args.report.requests[blockIdx.x];
  if (request.token_row < 0) return;
  const RowSummary summary = Summarize(args, blockIdx.x);
  if (threadIdx.x == 0) args.report.failed[blockIdx.x] = summary.failed ? 1 : 0;
  if (summary.failed) return;
  const float log_sum = WantsLogprobs(request) ? LogSum(args, summary) : 0;
  if (request.sample != 0) {
    WriteSampled(args, request, SampledToken(args, request, summary, shared), log_sum);
  } else {
    WriteTargets(args, request, log_sum);
  }
  if (request.alternatives > 0) WriteAlternatives(args, request, log_sum, best);
}

}  // namespace

cudaError_t Finish(const StageArgs& args, cudaStream_t stream) {
  return LaunchKernel(FinishKernel, args.report.count, kDrawThreads, 0, stream, args);
}

}  // namespace peerage::kernels::cuda
