#include "model/kernels/device_cuda.cuh"
#include "model/kernels/experts_cuda.h"

namespace peerage::kernels::cuda {
namespace {

constexpr int kThreads = 256;

// Grid (columns, token).
__global__ void __launch_bounds__(kThreads) AddHeadsKernel(AddHeadsArgs args) {
  const int column = blockIdx.x * kThreads + threadIdx.x;
  if (column >= args.width || args.positions[blockIdx.y] < 0) return;
  const float* partial = args.partials + size_t(blockIdx.y) * args.heads * args.width + column;
  float sum = partial[0];
  for (int head = 1; head < args.heads; ++head) sum += partial[size_t(head) * args.width];
  args.residual[size_t(blockIdx.y) * args.width + column] += sum;
}

}  // namespace

cudaError_t AddHeads(const AddHeadsArgs& args, cudaStream_t stream) {
  if (args.count == 0) return cudaSuccess;
  const dim3 grid((args.width + kThreads - 1) / kThreads, args.count);
  return LaunchKernel(AddHeadsKernel, grid, kThreads, 0, stream, args);
}

}  // namespace peerage::kernels::cuda
