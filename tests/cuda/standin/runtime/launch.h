#pragma once

#include <cuda_runtime_api.h>

#include "device.h"

namespace standin {

struct LaunchArguments {
  const void* host = nullptr;  // what stands for the kernel in the program
  dim3 grid, block;
  void** arguments = nullptr;
  size_t shared = 0;
  cudaStream_t stream = nullptr;
};
cudaError_t Launch(const LaunchArguments& launch);

// The kernel on the current device; null: the program has registered none. Throws ptx::Error.
Function* FindFunction(const void* host);
int BlocksPerMultiprocessor(const Function& function, int threads, size_t dynamic_shared);

double CpuSeconds();  // of this process: fair on a busy machine too

}  // namespace standin
