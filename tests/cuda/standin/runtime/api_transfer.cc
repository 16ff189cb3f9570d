// The runtime's copies and memsets.
#include <cuda_runtime_api.h>

#include "call.h"
#include "schedule.h"
#include "transfer.h"

using namespace standin;

namespace {

cudaError_t CopyNow(const Transfer& transfer) {
  if (const cudaError_t error = RefuseWhileCapturing(); error != cudaSuccess) return error;
  return Copy(transfer, CurrentDevice().default_stream, /*wait=*/true);
}

// The memory of another device is reached from this one's stream; each side keeps its own checks.
Transfer Between(void* to, int to_device, const void* from, int from_device, size_t n) {
  const auto is_of = [](const void* p, int number) {
    return DeviceOf(p) != nullptr && DeviceOf(p)->number == number;
  };
  if (!is_of(to, to_device) || !is_of(from, from_device)) return {nullptr, nullptr, 1};
  return {to, from, n, 1, 0, 0, cudaMemcpyDeviceToDevice};
}

// An address in a variable; null with `error` set: there is none.
void* InVariable(const void* host, size_t n, size_t offset, cudaError_t& error) {
  const Program::Symbol* symbol = runtime().program.Variable(host);
  error = symbol == nullptr                                 ? cudaErrorInvalidSymbol
          : n > symbol->bytes || offset > symbol->bytes - n ? cudaErrorInvalidValue
                                                            : cudaSuccess;
  if (error != cudaSuccess) return nullptr;
  return reinterpret_cast<void*>(CurrentDevice().AddressOf(*symbol) + offset);
}

}  // namespace

extern "C" {

cudaError_t cudaMemcpy(void* to, const void* from, size_t n, cudaMemcpyKind kind) {
  return Api(__func__, [&] { return CopyNow({to, from, n, 1, 0, 0, kind}); });
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t n, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  return Api(__func__, [&] {
    return Copy({to, from, n, 1, 0, 0, kind}, FindStream(stream), /*wait=*/false);
  });
}

cudaError_t cudaMemcpy2D(void* to, size_t to_pitch, const void* from, size_t from_pitch,
                         size_t width, size_t height, cudaMemcpyKind kind) {
  return Api(__func__, [&] {
    return CopyNow({to, from, width, height, to_pitch, from_pitch, kind});
  });
}

cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch,
                              size_t width, size_t height, cudaMemcpyKind kind,
                              cudaStream_t stream) {
  return Api(__func__, [&] {
    return Copy({to, from, width, height, to_pitch, from_pitch, kind}, FindStream(stream),
                /*wait=*/false);
  });
}

cudaError_t cudaMemcpyPeer(void* to, int to_device, const void* from, int from_device, size_t n) {
  return Api(__func__, [&] { return CopyNow(Between(to, to_device, from, from_device, n)); });
}

cudaError_t cudaMemcpyPeerAsync(void* to, int to_device, const void* from, int from_device,
                                size_t n, cudaStream_t stream) {
  return Api(__func__, [&] {
    return Copy(Between(to, to_device, from, from_device, n), FindStream(stream), /*wait=*/false);
  });
}

cudaError_t cudaMemset(void* to, int value, size_t n) {
  return Api(__func__, [&] { return Set({to, value, n, 1, 0}, CurrentDevice().default_stream); });
}

cudaError_t cudaMemsetAsync(void* to, int value, size_t n, cudaStream_t stream) {
  return Api(__func__, [&] { return Set({to, value, n, 1, 0}, FindStream(stream)); });
}

cudaError_t cudaMemset2D(void* to, size_t pitch, int value, size_t width, size_t height) {
  return Api(__func__, [&] {
    return Set({to, value, width, height, pitch}, CurrentDevice().default_stream);
  });
}

cudaError_t cudaMemset2DAsync(void* to, size_t pitch, int value, size_t width, size_t height,
                              cudaStream_t stream) {
  return Api(__func__, [&] { return Set({to, value, width, height, pitch}, FindStream(stream)); });
}

cudaError_t cudaGetSymbolAddress(void** p, const void* symbol) {
  return Api(__func__, [&] {
    cudaError_t error;
    *p = InVariable(symbol, 0, 0, error);
    return error;
  });
}

cudaError_t cudaGetSymbolSize(size_t* bytes, const void* symbol) {
  return Api(__func__, [&] {
    const Program::Symbol* found = runtime().program.Variable(symbol);
    if (found == nullptr) return cudaErrorInvalidSymbol;
    *bytes = found->bytes;
    return cudaSuccess;
  });
}

cudaError_t cudaMemcpyToSymbol(const void* symbol, const void* from, size_t n, size_t offset,
                               cudaMemcpyKind kind) {
  return Api(__func__, [&] {
    cudaError_t error;
    void* to = InVariable(symbol, n, offset, error);
    return error != cudaSuccess ? error : CopyNow({to, from, n, 1, 0, 0, kind});
  });
}

cudaError_t cudaMemcpyFromSymbol(void* to, const void* symbol, size_t n, size_t offset,
                                 cudaMemcpyKind kind) {
  return Api(__func__, [&] {
    cudaError_t error;
    const void* from = InVariable(symbol, n, offset, error);
    return error != cudaSuccess ? error : CopyNow({to, from, n, 1, 0, 0, kind});
  });
}

cudaError_t cudaMemcpyToSymbolAsync(const void* symbol, const void* from, size_t n, size_t offset,
                                    cudaMemcpyKind kind, cudaStream_t stream) {
  return Api(__func__, [&] {
    cudaError_t error;
    void* to = InVariable(symbol, n, offset, error);
    return error != cudaSuccess
               ? error
               : Copy({to, from, n, 1, 0, 0, kind}, FindStream(stream), /*wait=*/false);
  });
}

cudaError_t cudaMemcpyFromSymbolAsync(void* to, const void* symbol, size_t n, size_t offset,
                                      cudaMemcpyKind kind, cudaStream_t stream) {
  return Api(__func__, [&] {
    cudaError_t error;
    const void* from = InVariable(symbol, n, offset, error);
    return error != cudaSuccess
               ? error
               : Copy({to, from, n, 1, 0, 0, kind}, FindStream(stream), /*wait=*/false);
  });
}

}  // extern "C"
