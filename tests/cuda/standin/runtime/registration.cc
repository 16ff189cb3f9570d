// What the host code that nvcc writes calls before main: not documented, and of toolkit 13.0
// (runtime_test/registration_abi_test.py says when it has changed).
#include <cuda_runtime_api.h>

#include "runtime.h"

using namespace standin;

namespace {

// The handle of a module is its number.
int NumberOf(void** module) { return static_cast<int>(reinterpret_cast<uintptr_t>(module)); }

struct CallConfiguration {
  dim3 grid, block;
  size_t shared = 0;
  cudaStream_t stream = nullptr;
};
thread_local CallConfiguration configuration;

}  // namespace

extern "C" {

void** __cudaRegisterFatBinary(void* wrapper) {
  const std::lock_guard lock(runtime().mutex);
  return reinterpret_cast<void**>(static_cast<uintptr_t>(runtime().program.AddModule(wrapper)));
}

void __cudaRegisterFatBinaryEnd(void**) {}

void __cudaUnregisterFatBinary(void** module) {
  const std::lock_guard lock(runtime().mutex);
  runtime().program.RemoveModule(NumberOf(module));
  for (const auto& device : runtime().devices) device->Unload(NumberOf(module));
}

char __cudaInitModule(void**) { return 0; }

void __cudaRegisterFunction(void** module, const char* host, char*, const char* name, int, uint3*,
                            uint3*, dim3*, dim3*, int*) {
  const std::lock_guard lock(runtime().mutex);
  runtime().program.AddFunction(host, {NumberOf(module), name});
}

void __cudaRegisterVar(void** module, char* host, char*, const char* name, int, size_t bytes, int,
                       int) {
  const std::lock_guard lock(runtime().mutex);
  runtime().program.AddVariable(host, {NumberOf(module), name, bytes});
}

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, cudaStream_t stream) {
  configuration = {grid, block, shared, stream};
  return 0;
}

cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared, void* stream) {
  *grid = configuration.grid;
  *block = configuration.block;
  *shared = configuration.shared;
  *static_cast<cudaStream_t*>(stream) = configuration.stream;
  return cudaSuccess;
}

cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* host) {
  *kernel = reinterpret_cast<cudaKernel_t>(const_cast<void*>(host));
  return cudaSuccess;
}

}  // extern "C"
