#include <algorithm>

#include "model/kernels/attention_cuda.h"
#include "model/kernels/device_cuda.cuh"

namespace peerage::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr size_t kVector = sizeof(uint4);
constexpr size_t kMaxSlices = 64;  // of a block: a single copy should fill a device, too

// Grid (pair, slice).
__global__ void __launch_bounds__(kThreads) CopyBlocksKernel(CopyBlocksArgs args) {
  const int32_t from = args.pairs[2 * blockIdx.x], to = args.pairs[2 * blockIdx.x + 1];
  if (from < 0) return;
  const size_t vectors = args.block_bytes / kVector;
  const uint4* source = static_cast<const uint4*>(args.cache) + from * vectors;
  uint4* target = static_cast<uint4*>(args.cache) + to * vectors;
  const size_t step = size_t{gridDim.y} * kThreads;
  for (size_t i = size_t{blockIdx.y} * kThreads + threadIdx.x; i < vectors; i += step) {
    target[i] = source[i];
  }
}

}  // namespace

cudaError_t CopyBlocks(const CopyBlocksArgs& args, cudaStream_t stream) {
  if (args.block_bytes % kVector != 0) return cudaErrorInvalidValue;
  if (args.count == 0 || args.block_bytes == 0) return cudaSuccess;
  const size_t slices = (args.block_bytes / kVector + kThreads - 1) / kThreads;
  const dim3 grid(args.count, static_cast<unsigned>(std::min(slices, kMaxSlices)));
  return LaunchKernel(CopyBlocksKernel, grid, kThreads, 0, stream, args);
}

}  // namespace peerage::kernels::cuda
