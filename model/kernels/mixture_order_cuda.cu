#include "model/kernels/device_cuda.cuh"
#include "model/kernels/mixture_cuda.h"

namespace peerage::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;

// Of all warps; and of those before this one. `totals` holds kWarps ints.
struct BlockCount {
  int all = 0, before = 0;
};
__device__ __forceinline__ BlockCount CountInBlock(int of_warp, int* totals) {
  if (threadIdx.x % 32 == 0) totals[threadIdx.x / 32] = of_warp;
  __syncthreads();
  BlockCount count;
#pragma unroll
  for (int w = 0; w < kWarps; ++w) {
    if (w < threadIdx.x / 32) count.before += totals[w];
    count.all += totals[w];
  }
  __syncthreads();
  return count;
}

// The picks of FFNs below `ffn`, which is where its own rows begin.
__device__ __forceinline__ int RowsBefore(const OrderByExpertArgs& args, uint32_t ffn,
                                          int* totals) {
  int count = 0;
  for (int pick = threadIdx.x; pick < args.picks; pick += kThreads) count += args.ids[pick] < ffn;
#pragma unroll
  for (int m = 16; m > 0; m >>= 1) count += __shfl_xor_sync(kWarp, count, m);
  return CountInBlock(count, totals).all;
}

// A block has an FFN and reads all picks: there are few, and no block waits for another. The last
// block has the picks of no FFN.
__global__ void __launch_bounds__(kThreads) OrderByExpertKernel(OrderByExpertArgs args) {
  __shared__ int totals[kWarps];
  const uint32_t ffn = blockIdx.x, ffns = args.ffns;
  int row = RowsBefore(args, ffn, totals);
  if (threadIdx.x == 0) args.first_row[ffn] = row;
  const uint32_t lanes_before = (1u << threadIdx.x % 32) - 1;
  for (int first = 0; first < args.picks; first += kThreads) {
    const int pick = first + threadIdx.x;
    const uint32_t id = pick < args.picks ? args.ids[pick] : ffns;
    if (ffn == ffns) {
      if (pick < args.picks && id >= ffns) args.row_of_pick[pick] = -1;
      continue;
    }
    const uint32_t own = __ballot_sync(kWarp, id == ffn);
    const BlockCount count = CountInBlock(__popc(own), totals);
    if (id == ffn) args.row_of_pick[pick] = row + count.before + __popc(own & lanes_before);
    row += count.all;
  }
}

}  // namespace

cudaError_t OrderByExpert(const OrderByExpertArgs& args, cudaStream_t stream) {
  return LaunchKernel(OrderByExpertKernel, args.ffns + 1, kThreads, 0, stream, args);
}

}  // namespace peerage::kernels::cuda
