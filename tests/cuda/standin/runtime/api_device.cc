// The runtime's devices, versions, limits and pools.
#include <cuda_runtime_api.h>

#include <cstdio>

#include "call.h"
#include "schedule.h"

using namespace standin;

namespace {

bool IsDevice(int number) {
  return number >= 0 && number < static_cast<int>(runtime().devices.size());
}

template <typename Body>
cudaError_t WithDevice(const char* function, int number, Body&& body,
                       Needs needs = Needs::kWorkingDevice) {
  return Api(
      function,
      [&] { return IsDevice(number) ? body(*runtime().devices[number]) : cudaErrorInvalidDevice; },
      needs);
}

// A pool's handle is the device that has it.
Device* DeviceOfPool(cudaMemPool_t pool) {
  for (const auto& device : runtime().devices) {
    if (reinterpret_cast<cudaMemPool_t>(device.get()) == pool) return device.get();
  }
  return nullptr;
}

cudaError_t GetPool(cudaMemPool_t* pool, Device& device) {
  *pool = reinterpret_cast<cudaMemPool_t>(&device);
  return cudaSuccess;
}

}  // namespace

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
  return Api(
      __func__,
      [&] {
        *count = static_cast<int>(runtime().devices.size());
        return *count == 0 ? cudaErrorNoDevice : cudaSuccess;
      },
      Needs::kNothing);
}

cudaError_t cudaGetDevice(int* number) {
  return Api(
      __func__,
      [&] {
        *number = CurrentDeviceNumber();
        return cudaSuccess;
      },
      Needs::kDevice);
}

cudaError_t cudaSetDevice(int number) {
  return WithDevice(
      __func__, number,
      [](Device& device) {
        CurrentDeviceNumber() = device.number;
        device.told = true;
        return device.sticky;
      },
      Needs::kDevice);
}

cudaError_t cudaInitDevice(int number, unsigned, unsigned) {
  return WithDevice(__func__, number, [](Device&) { return cudaSuccess; });
}

cudaError_t cudaSetDeviceFlags(unsigned) {
  return Api(__func__, [] { return cudaSuccess; });
}

cudaError_t cudaGetDeviceFlags(unsigned* flags) {
  return Api(__func__, [&] {
    *flags = cudaDeviceScheduleAuto;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceReset() {
  return Api(
      __func__,
      [] {
        DrainDevice(CurrentDevice());
        CurrentDevice().Reset();
        TakeLastError(/*clear=*/true);
        return cudaSuccess;
      },
      Needs::kDevice);
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int number) {
  return WithDevice(__func__, number, [&](const Device& device) {
    *p = Properties(device);
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int number) {
  return WithDevice(__func__, number, [&](const Device& device) {
    return Attribute(device, attribute, value) ? cudaSuccess : cudaErrorInvalidValue;
  });
}

cudaError_t cudaDeviceGetPCIBusId(char* id, int length, int number) {
  return WithDevice(__func__, number, [&](const Device& device) {
    std::snprintf(id, length, "0000:%02x:00.0", device.number + 1);
    return cudaSuccess;
  });
}

// Kernels cannot follow another device's pointers; copies between devices work.
cudaError_t cudaDeviceCanAccessPeer(int* can, int number, int peer) {
  return WithDevice(__func__, number, [&](const Device&) {
    if (!IsDevice(peer)) return cudaErrorInvalidDevice;
    *can = 0;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceEnablePeerAccess(int peer, unsigned) {
  return WithDevice(__func__, peer, [](const Device&) { return cudaErrorPeerAccessUnsupported; });
}

cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int number) {
  return WithDevice(__func__, number, [&](Device& device) { return GetPool(pool, device); });
}

cudaError_t cudaDeviceGetMemPool(cudaMemPool_t* pool, int number) {
  return WithDevice(__func__, number, [&](Device& device) { return GetPool(pool, device); });
}

// Nothing is kept in a pool, so that there is nothing to tune.
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, cudaMemPoolAttr, void*) {
  return Api(__func__,
             [&] { return DeviceOfPool(pool) == nullptr ? cudaErrorInvalidValue : cudaSuccess; });
}

cudaError_t cudaMemPoolTrimTo(cudaMemPool_t pool, size_t) {
  return Api(__func__,
             [&] { return DeviceOfPool(pool) == nullptr ? cudaErrorInvalidValue : cudaSuccess; });
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaProfilerStart() { return cudaSuccess; }
cudaError_t cudaProfilerStop() { return cudaSuccess; }

}  // extern "C"
