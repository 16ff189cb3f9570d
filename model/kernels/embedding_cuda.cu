#include "model/kernels/device_cuda.cuh"
#include "model/kernels/embedding_cuda.h"

namespace peerage::kernels::cuda {
namespace {

constexpr int kThreads = 128;

__device__ __forceinline__ float ToFloat(float x) { return x; }
__device__ __forceinline__ float ToFloat(uint16_t bits) { return FromBf16(bits); }

template <typename Element>
__global__ void __launch_bounds__(kThreads) EmbedKernel(EmbedArgs args) {
  const int token = args.tokens[blockIdx.x];
  const Element* row = static_cast<const Element*>(args.table) + size_t(max(token, 0)) * args.width;
  float* x = args.x + size_t(blockIdx.x) * args.width;
  for (int i = threadIdx.x; i < args.width; i += kThreads) x[i] = token < 0 ? 0 : ToFloat(row[i]);
}

}  // namespace

cudaError_t Embed(const EmbedArgs& args, cudaStream_t stream) {
  if (args.count == 0) return cudaSuccess;
  const auto kernel =
      args.table_type == DeviceFloat::kF32 ? EmbedKernel<float> : EmbedKernel<uint16_t>;
  return LaunchKernel(kernel, args.count, kThreads, 0, stream, args);
}

}  // namespace peerage::kernels::cuda
