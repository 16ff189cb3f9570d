#include "tests/cuda/standin/runtime_test/kernels.h"

namespace peerage::standin_test {
namespace {

__global__ void Add(const float* in, float* out, int n, float x) {
  extern __shared__ float staged[];
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  staged[threadIdx.x] = in[i];
  out[i] = staged[threadIdx.x] + x;
}

__global__ void Trap() { __trap(); }

}  // namespace

const void* AddKernel() { return reinterpret_cast<const void*>(Add); }

cudaError_t LaunchAddAs(dim3 grid, dim3 block, size_t shared_bytes, const float* in, float* out,
                        int n, float x, cudaStream_t stream) {
  void* arguments[] = {&in, &out, &n, &x};
  return cudaLaunchKernel(AddKernel(), grid, block, arguments, shared_bytes, stream);
}

cudaError_t LaunchAdd(const float* in, float* out, int n, float x, cudaStream_t stream) {
  return LaunchAddAs(1, n, n * sizeof(float), in, out, n, x, stream);
}

cudaError_t AllowShared(int bytes) {
  return cudaFuncSetAttribute(Add, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
}

cudaError_t LaunchTrap(cudaStream_t stream) {
  return cudaLaunchKernel(reinterpret_cast<const void*>(Trap), 1, 32, nullptr, 0, stream);
}

}  // namespace peerage::standin_test
