#include "call.h"

#include "errors.h"
#include "page_fault.h"

namespace standin {
namespace {

thread_local cudaError_t last_error = cudaSuccess;
thread_local std::unique_lock<std::mutex>* held = nullptr;
thread_local bool in_host_function = false;

cudaError_t Sticky() {
  if (runtime().devices.empty()) return cudaSuccess;
  Device& device = CurrentDevice();
  device.told = true;
  return device.sticky;
}

}  // namespace

Call::Call(const char* function, Needs needs)
    : lock_(runtime().mutex), outer_(held), error_(cudaSuccess) {
  held = &lock_;
  error_ = Begin(function, needs);
}

Call::~Call() { held = outer_; }

cudaError_t Call::Begin(const char* function, Needs needs) {
  Runtime& r = runtime();
  WatchPageFaults();
  const auto injected = static_cast<cudaError_t>(function == nullptr ? 0 : r.calls.Count(function));
  if (in_host_function) {
    r.reports.Add("a function of cudaLaunchHostFunc calls the CUDA API");
    return cudaErrorNotPermitted;
  }
  if (injected != cudaSuccess) {
    if (IsSticky(injected) && !r.devices.empty()) CurrentDevice().Lose(injected);
    Sticky();
    return injected;
  }
  if (needs == Needs::kNothing) return cudaSuccess;
  if (r.devices.empty()) return cudaErrorNoDevice;
  return needs == Needs::kWorkingDevice ? Sticky() : cudaSuccess;
}

cudaError_t Call::Return(cudaError_t error) {
  if (error != cudaSuccess && error != cudaErrorNotReady) last_error = error;
  return error;
}

std::unique_lock<std::mutex>* HeldLock() { return held; }

void RunHostFunction(void (*function)(void*), void* data) {
  held->unlock();
  in_host_function = true;
  function(data);
  in_host_function = false;
  held->lock();
}

cudaError_t TakeLastError(bool clear) {
  const cudaError_t error = last_error;
  if (clear) last_error = cudaSuccess;
  const cudaError_t sticky = Sticky();
  return sticky != cudaSuccess ? sticky : error;
}

}  // namespace standin
