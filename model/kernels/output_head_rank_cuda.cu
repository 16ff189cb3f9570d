#include "model/kernels/output_head_row_cuda.cuh"

namespace peerage::kernels::cuda {
namespace {

// How many tokens of the thread come before one in the order of tokens.
__device__ __forceinline__ unsigned Better(const ChunkLogits& chunk, float logit, int id) {
  unsigned better = 0;
#pragma unroll
  for (int p = 0; p < kPieces; ++p) {
    const int before = id - PieceStart(p);
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const float x = chunk.x[p][e];
      better += (e < before ? x >= logit : x > logit) ? 1 : 0;
    }
  }
  return better;
}

// Grid (chunk, row): a chunk's part of the ranks of all tokens that a row reports.
__global__ void __launch_bounds__(kChunkThreads, 4) RankKernel(StageArgs args) {
  constexpr int kTile = kChunkThreads;  // scores at a time
  __shared__ unsigned better[kTile];
  const RowRequest& request = args.report.requests[blockIdx.y];
  if (request.token_row < 0 || !WantsLogprobs(request)) return;
  if (args.report.failed[blockIdx.y] != 0) return;
  const RowLogits row = RawLogits(args, blockIdx.y);
  const ChunkLogits chunk = LoadChunk(row);
  DeviceScore* scores = args.report.scores + request.first_score;
  for (int first = 0; first < request.scores; first += kTile) {
    const int count = min(request.scores - first, kTile);
    better[threadIdx.x] = 0;
    __syncthreads();
    for (int i = 0; i < count; ++i) {
      const uint32_t token = scores[first + i].token;
      const unsigned sum =
          __reduce_add_sync(kWarp, Better(chunk, row.x[token], static_cast<int>(token)));
      if (threadIdx.x % 32 == 0 && sum != 0) atomicAdd(&better[i], sum);
    }
    __syncthreads();
    if (static_cast<int>(threadIdx.x) < count && better[threadIdx.x] != 0) {
      atomicAdd(&scores[first + threadIdx.x].rank, better[threadIdx.x]);
    }
    __syncthreads();
  }
}

}  // namespace

cudaError_t Rank(const StageArgs& args, cudaStream_t stream) {
  return LaunchKernel(RankKernel, dim3(args.scratch.chunks, args.report.count), kChunkThreads, 0,
                      stream, args);
}

}  // namespace peerage::kernels::cuda
