#pragma once

#include <cuda_runtime_api.h>

#include <cstdio>
#include <mutex>

#include "runtime.h"

namespace standin {

// What a call needs to get through.
enum class Needs {
  kWorkingDevice,  // a device without a sticky error
  kDevice,         // a device, lost or not
  kNothing,
};

// One call of the CUDA API by the program: holds the lock, counts, and knows what it returns when
// something is wrong before it begins.
class Call {
 public:
  // `function` null: not counted.
  Call(const char* function, Needs needs);
  ~Call();
  Call(const Call&) = delete;

  cudaError_t error() const { return error_; }
  // Remembers an error for cudaGetLastError. A query that is not ready is none.
  static cudaError_t Return(cudaError_t error);

 private:
  cudaError_t Begin(const char* function, Needs needs);

  std::unique_lock<std::mutex> lock_;
  std::unique_lock<std::mutex>* const outer_;
  cudaError_t error_;
};

// The calling thread's lock, which waits and host functions let go.
std::unique_lock<std::mutex>* HeldLock();
// Runs a function of the program without the lock. It may not call the CUDA API.
void RunHostFunction(void (*function)(void*), void* data);

cudaError_t TakeLastError(bool clear);

// Counts and runs a call of the API: `return Api(__func__, [&] { ... });`
template <typename Body>
cudaError_t Api(const char* function, Body&& body, Needs needs = Needs::kWorkingDevice) {
  const Call call(function, needs);
  if (call.error() != cudaSuccess) return Call::Return(call.error());
  try {
    return Call::Return(body());
  } catch (const ptx::Error& error) {
    std::fprintf(stderr, "cuda stand-in: %s: %s\n", function, error.what());
    return Call::Return(cudaErrorInvalidKernelImage);
  }
}

}  // namespace standin
