#include "tests/cuda/standin/runtime_test/kernels.h"

namespace peerage::standin_test {
namespace {

__device__ int counter = 5;
__constant__ float table[4];

__global__ void Count(int x, float* out) {
  counter += x;
  *out = static_cast<float>(counter) * table[1];
}

}  // namespace

cudaError_t LaunchCount(int x, float* out, cudaStream_t stream) {
  Count<<<1, 1, 0, stream>>>(x, out);
  return cudaGetLastError();
}

const void* Counter() { return &counter; }
const void* Table() { return table; }

}  // namespace peerage::standin_test
