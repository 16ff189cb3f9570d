#include "model/kernels/attention_cuda.cuh"

namespace peerage::kernels::cuda {
namespace {

constexpr int kThreads = 128;

// Grid (item, head). Splits in their order, as the loop over splits merges them.
__global__ void __launch_bounds__(kThreads) MergeSplitsKernel(AttentionArgs args) {
  const AttentionItem item = args.items[blockIdx.x];
  const Partials partials(args);
  const int head_dim = args.shape.head_dim;
  for (int t = 0; t < item.tokens; ++t) {
    const size_t index = size_t(item.token + t) * args.shape.heads + blockIdx.y;
    const bool skipped = args.head_gates != nullptr && args.head_gates[index] == 0;
    const int splits = skipped ? 0 : (item.position + t) / kSplitTokens + 1;
    for (int i = threadIdx.x; i < head_dim; i += kThreads) {
      Softmax softmax;
      float values = 0;
#pragma unroll 4
      for (int s = 0; s < splits; ++s) {
        const MergeFactors factors(softmax, partials.Load(index, s));
        values = factors.Merge(values, partials.Values(index, s)[i]);
      }
      StoreOutput(args, index * head_dim + i,
                  skipped ? 0.0f : Output(values, OutputFactor(args, index, softmax)));
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
