// The runtime's kernels: launches, attributes, occupancy.
#include <cuda_runtime_api.h>

#include "call.h"
#include "launch.h"

using namespace standin;

namespace {

template <typename Body>
cudaError_t WithFunction(const char* function, const void* host, Body&& body) {
  return Api(function, [&] {
    Function* found = FindFunction(host);
    return found == nullptr ? cudaErrorInvalidDeviceFunction : body(*found);
  });
}

cudaError_t LimitSharedMemory(Function& function, int bytes) {
  if (bytes < 0 ||
      bytes > kSharedPerBlockOptin - static_cast<int>(function.kernel->static_shared)) {
    return cudaErrorInvalidValue;
  }
  function.dynamic_shared_limit = bytes;
  return cudaSuccess;
}

// Clusters, programmatic launches and the like change what a kernel does: not without knowing how.
bool ChangesNothing(const cudaLaunchConfig_t& config) {
  for (unsigned i = 0; i < config.numAttrs; ++i) {
    const auto id = config.attrs[i].id;
    if (id != cudaLaunchAttributeIgnore && id != cudaLaunchAttributePriority) return false;
  }
  return true;
}

}  // namespace

extern "C" {

cudaError_t cudaLaunchKernel(const void* host, dim3 grid, dim3 block, void** arguments,
                             size_t shared, cudaStream_t stream) {
  return Api(__func__, [&] { return Launch({host, grid, block, arguments, shared, stream}); });
}

// What nvcc's code for <<<>>> calls.
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments,
                               size_t shared, cudaStream_t stream) {
  return Api("cudaLaunchKernel", [&] {
    return Launch({reinterpret_cast<const void*>(kernel), grid, block, arguments, shared, stream});
  });
}

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* host,
                                void** arguments) {
  return Api(__func__, [&] {
    if (!ChangesNothing(*config)) {
      runtime().reports.Add("cudaLaunchKernelExC with an attribute that is not supported");
      return cudaErrorNotSupported;
    }
    return Launch({host, config->gridDim, config->blockDim, arguments, config->dynamicSmemBytes,
                   config->stream});
  });
}

cudaError_t cudaFuncSetAttribute(const void* host, cudaFuncAttribute attribute, int value) {
  return WithFunction(__func__, host, [&](Function& function) {
    switch (attribute) {
      case cudaFuncAttributeMaxDynamicSharedMemorySize:
        return LimitSharedMemory(function, value);
      case cudaFuncAttributePreferredSharedMemoryCarveout:
        return value < -1 || value > 100 ? cudaErrorInvalidValue : cudaSuccess;
      default:
        return cudaErrorInvalidValue;
    }
  });
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* out, const void* host) {
  return WithFunction(__func__, host, [&](const Function& function) {
    *out = {};
    out->sharedSizeBytes = function.kernel->static_shared;
    out->maxThreadsPerBlock = static_cast<int>(function.kernel->max_threads);
    out->maxDynamicSharedSizeBytes = function.dynamic_shared_limit;
    out->numRegs = function.registers;
    out->ptxVersion = out->binaryVersion = runtime().settings.target;
    return cudaSuccess;
  });
}

cudaError_t cudaFuncGetName(const char** name, const void* host) {
  return WithFunction(__func__, host, [&](const Function& function) {
    *name = function.kernel->name.c_str();
    return cudaSuccess;
  });
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* host,
                                                          int threads, size_t shared) {
  return WithFunction(__func__, host, [&](const Function& function) {
    if (threads < 1) return cudaErrorInvalidValue;
    *blocks = BlocksPerMultiprocessor(function, threads, shared);
    return cudaSuccess;
  });
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void* host,
                                                                   int threads, size_t shared,
                                                                   unsigned) {
  return WithFunction(__func__, host, [&](const Function& function) {
    if (threads < 1) return cudaErrorInvalidValue;
    *blocks = BlocksPerMultiprocessor(function, threads, shared);
    return cudaSuccess;
  });
}

}  // extern "C"
