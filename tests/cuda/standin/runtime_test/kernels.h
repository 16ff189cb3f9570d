#pragma once

#include <cuda_runtime_api.h>

// Kernels to launch where the host's side is tested. Each returns what its launch returned.
namespace peerage::standin_test {

// out[i] = in[i] + x, for n <= 1024 values, by one block.
cudaError_t LaunchAdd(const float* in, float* out, int n, float x, cudaStream_t stream);
// The same by the configuration and the dynamic shared memory that the caller wants.
cudaError_t LaunchAddAs(dim3 grid, dim3 block, size_t shared_bytes, const float* in, float* out,
                        int n, float x, cudaStream_t stream);
cudaError_t AllowShared(int bytes);  // for LaunchAddAs
const void* AddKernel();

// __trap(), which a device answers with cudaErrorLaunchFailure.
cudaError_t LaunchTrap(cudaStream_t stream);

// counter += x; out = counter * table[1] (variables.cu).
cudaError_t LaunchCount(int x, float* out, cudaStream_t stream);
const void* Counter();  // int
const void* Table();    // float[4], constant

}  // namespace peerage::standin_test
