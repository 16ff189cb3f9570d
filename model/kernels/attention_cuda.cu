#include "model/kernels/attention_cuda.cuh"

namespace peerage::kernels::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kColumns = (kMaxHeadDim + kThreads - 1) / kThreads;  // of a thread

// One row, whose splits are merged in their order, as the loop over splits does it. Maxima do not
// depend on an order: factors of kThreads splits are computed side by side.
struct RowMerge {
  const Partials& partials;
  const size_t index;
  float maximum = -INFINITY, sum = 0, values[kColumns] = {};

  // At most kThreads splits from `first`; the other two are shared, [kThreads].
  __device__ __forceinline__ void Add(int first, int count, Softmax* splits, float2* factors) {
    if (threadIdx.x < count) splits[threadIdx.x] = partials.Load(index, first + threadIdx.x);
    __syncthreads();
    float before = maximum;
    for (int s = 0; s < count; ++s) {
      if (s == threadIdx.x) {
        const MergeFactors own(before, splits[s].maximum);
        factors[s] = make_float2(own.all, own.part);
      }
      before = fmaxf(before, splits[s].maximum);
    }
    maximum = before;
    __syncthreads();
#pragma unroll 8
    for (int s = 0; s < count; ++s) {
      const MergeFactors next(factors[s]);
      sum = next.Merge(sum, splits[s].sum);
      const float* of_split = partials.Values(index, first + s);
#pragma unroll
      for (int c = 0; c < kColumns; ++c) {
        const int column = c * kThreads + threadIdx.x;
        if (column < partials.head_dim) values[c] = next.Merge(values[c], of_split[column]);
      }
    }
    __syncthreads();
  }
};

// Grid (item, head).
__global__ void __launch_bounds__(kThreads) MergeSplitsKernel(AttentionArgs args) {
  __shared__ Softmax splits[kThreads];
  __shared__ float2 factors[kThreads];
  const AttentionItem item = args.items[blockIdx.x];
  const Partials partials(args);
  const int head_dim = args.shape.head_dim;
  for (int t = 0; t < item.tokens; ++t) {
    const size_t index = size_t(item.token + t) * args.shape.heads + blockIdx.y;
    const bool skipped = args.head_gates != nullptr && args.head_gates[index] == 0;
    const int count = skipped ? 0 : (item.position + t) / kSplitTokens + 1;
    RowMerge row{partials, index};
    for (int s = 0; s < count; s += kThreads) row.Add(s, min(count - s, kThreads), splits, factors);
    const float factor = skipped ? 0 : OutputFactor(args, index, row.sum);
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      const int column = c * kThreads + threadIdx.x;
      if (column >= head_dim) continue;
      StoreOutput(args, index * head_dim + column, skipped ? 0.0f : Output(row.values[c], factor));
    }
  }
}

bool IsValid(const AttentionShape& shape) {
  return shape.kv_heads > 0 && shape.heads > 0 && shape.heads % shape.kv_heads == 0 &&
         shape.head_dim > 0 && shape.head_dim <= kMaxHeadDim;
}

}  // namespace

size_t AttentionPartialFloats(const AttentionShape& shape, int count, int splits) {
  return size_t(count) * shape.heads * splits * (shape.head_dim + 2);
}

cudaError_t Attention(const AttentionArgs& args, cudaStream_t stream) {
  if (!IsValid(args.shape)) return cudaErrorInvalidValue;
  if (args.num_items == 0) return cudaSuccess;
  const bool tiles = HasAttentionTiles(args.shape, args.cache.type);
  const cudaError_t error = tiles ? AttendTiles(args, stream) : AttendRows(args, stream);
  if (error != cudaSuccess || args.splits == 0) return error;
  const dim3 grid(args.num_items, args.shape.heads);
  return LaunchKernel(MergeSplitsKernel, grid, kThreads, 0, stream, args);
}

}  // namespace peerage::kernels::cuda
