// The runtime's calls about memory: what is allocated, freed, pinned, asked.
#include <cuda_runtime_api.h>

#include "call.h"
#include "schedule.h"

using namespace standin;

namespace {

uint64_t Address(const void* p) { return reinterpret_cast<uint64_t>(p); }

cudaError_t Allocate(void** p, size_t bytes) {
  if (p == nullptr) return cudaErrorInvalidValue;
  if (const cudaError_t error = RefuseWhileCapturing(); error != cudaSuccess) return error;
  *p = nullptr;
  if (bytes == 0) return cudaSuccess;
  *p = reinterpret_cast<void*>(CurrentDevice().memory.Allocate(bytes));
  return *p == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
}

// Frees what an allocation's address names, or says what it names instead.
cudaError_t FreeNow(void* p) {
  Device* device = DeviceOf(p);
  if (device != nullptr && device->memory.Free(Address(p))) return cudaSuccess;
  runtime().reports.Add(device == nullptr ? "cudaFree of what is no device's"
                                          : "cudaFree of " + device->memory.Describe(Address(p)));
  return cudaErrorInvalidValue;
}

cudaError_t AllocatePinned(void** p, size_t bytes) {
  if (p == nullptr) return cudaErrorInvalidValue;
  if (const cudaError_t error = RefuseWhileCapturing(); error != cudaSuccess) return error;
  *p = bytes == 0 ? nullptr : runtime().host.Allocate(bytes);
  return bytes != 0 && *p == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
}

}  // namespace

extern "C" {

cudaError_t cudaMalloc(void** p, size_t bytes) {
  return Api(__func__, [&] { return Allocate(p, bytes); });
}

cudaError_t cudaMallocPitch(void** p, size_t* pitch, size_t width, size_t height) {
  return Api(__func__, [&] {
    *pitch = (width + 511) / 512 * 512;
    return Allocate(p, *pitch * height);
  });
}

cudaError_t cudaFree(void* p) {
  return Api(__func__, [&] {
    if (p == nullptr) return cudaSuccess;
    if (const cudaError_t error = RefuseWhileCapturing(); error != cudaSuccess) return error;
    if (Device* device = DeviceOf(p)) DrainDevice(*device);
    return FreeNow(p);
  });
}

// From the memory itself: there is no pool to keep what was freed.
cudaError_t cudaMallocAsync(void** p, size_t bytes, cudaStream_t s) {
  return Api(__func__, [&] {
    const auto stream = FindStream(s);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    if (stream->capture != nullptr) {
      stream->capture->Invalidate();
      return cudaErrorStreamCaptureUnsupported;
    }
    return Allocate(p, bytes);
  });
}

cudaError_t cudaFreeAsync(void* p, cudaStream_t s) {
  return Api(__func__, [&] {
    const auto stream = FindStream(s);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    if (p == nullptr) return cudaSuccess;
    Work work{"free", cudaGraphNodeTypeMemFree, [p] { return FreeNow(p); }, {}};
    return Enqueue(stream, std::move(work));
  });
}

cudaError_t cudaHostAlloc(void** p, size_t bytes, unsigned) {
  return Api(__func__, [&] { return AllocatePinned(p, bytes); });
}

cudaError_t cudaMallocHost(void** p, size_t bytes) {
  return Api(__func__, [&] { return AllocatePinned(p, bytes); });
}

cudaError_t cudaFreeHost(void* p) {
  return Api(__func__, [&] {
    if (p == nullptr) return cudaSuccess;
    if (const cudaError_t error = RefuseWhileCapturing(); error != cudaSuccess) return error;
    for (const auto& device : runtime().devices) DrainDevice(*device);
    const bool twice = runtime().host.WasFreed(p);
    if (runtime().host.Free(p)) return cudaSuccess;
    runtime().reports.Add(twice ? "cudaFreeHost of what was freed"
                                : "cudaFreeHost of what cudaHostAlloc did not give");
    return cudaErrorInvalidValue;
  });
}

cudaError_t cudaHostRegister(void* p, size_t bytes, unsigned) {
  return Api(__func__, [&] {
    if (p == nullptr || bytes == 0) return cudaErrorInvalidValue;
    return runtime().host.Register(p, bytes) ? cudaSuccess : cudaErrorHostMemoryAlreadyRegistered;
  });
}

cudaError_t cudaHostUnregister(void* p) {
  return Api(__func__, [&] {
    for (const auto& device : runtime().devices) DrainDevice(*device);
    return runtime().host.Unregister(p) ? cudaSuccess : cudaErrorHostMemoryNotRegistered;
  });
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  return Api(__func__, [&] {
    const DeviceMemory& memory = CurrentDevice().memory;
    *total = memory.total();
    *free = memory.total() - memory.used();
    return cudaSuccess;
  });
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* out, const void* p) {
  return Api(__func__, [&] {
    *out = {};
    const Device* device = DeviceOf(p);
    if (device != nullptr && device->memory.Holds(Address(p), 1)) {
      out->type = cudaMemoryTypeDevice;
      out->device = device->number;
      out->devicePointer = const_cast<void*>(p);
    } else if (runtime().host.IsPinned(p, 1)) {
      out->type = cudaMemoryTypeHost;
      out->device = CurrentDeviceNumber();
      out->hostPointer = const_cast<void*>(p);  // kernels of the stand-in cannot follow it
    } else {
      out->type = cudaMemoryTypeUnregistered;
      out->device = cudaInvalidDeviceId;
      out->hostPointer = const_cast<void*>(p);
    }
    return cudaSuccess;
  });
}

}  // extern "C"
