// What tests (tests/cuda/support/standin_control.h) and the other stand-ins (standin.h) ask.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <stdexcept>

#include "call.h"
#include "launch.h"
#include "schedule.h"
#include "standin.h"

using namespace standin;

extern "C" {

cudaError_t cudaStandinEnqueue(cudaStream_t handle, const char* name,
                               std::function<cudaError_t()>* run) {
  const Call call(nullptr, Needs::kWorkingDevice);
  if (call.error() != cudaSuccess) return call.error();
  const auto stream = FindStream(handle);
  if (stream == nullptr || stream->device != &CurrentDevice()) {
    return cudaErrorInvalidResourceHandle;
  }
  return Enqueue(stream, {name, cudaGraphNodeTypeKernel, std::move(*run), {}});
}

void* cudaStandinBytes(const void* p, size_t bytes) {
  const std::unique_lock lock =
      HeldLock() == nullptr ? std::unique_lock(runtime().mutex) : std::unique_lock<std::mutex>();
  const Device* device = DeviceOf(p);
  const auto address = reinterpret_cast<uint64_t>(p);
  return device != nullptr && device->memory.Holds(address, bytes) ? device->memory.At(address)
                                                                   : nullptr;
}

int cudaStandinWasWritten(const void* p, size_t bytes) {
  return DeviceOf(p)->memory.WasWritten(reinterpret_cast<uint64_t>(p), bytes);
}

void cudaStandinMarkWritten(const void* p, size_t bytes) {
  DeviceOf(p)->memory.MarkWritten(reinterpret_cast<uint64_t>(p), bytes);
}

int cudaStandinInjected(const char* function) {
  const std::lock_guard lock(runtime().mutex);
  return runtime().calls.Count(function);
}

void cudaStandinReport(const char* report) { runtime().reports.Add(report); }

// A function of the real library that the stand-in does not have.
int cudaStandinRefuse(const char* function) {
  return Api(
      function,
      [&] {
        runtime().reports.Add(std::string(function) + " is not supported");
        return cudaErrorNotSupported;
      },
      Needs::kNothing);
}

const char* cudaStandinTakeReport() {
  thread_local std::string taken;
  const std::lock_guard lock(runtime().mutex);
  taken = runtime().reports.Take();
  return taken.empty() ? nullptr : taken.c_str();
}

uint64_t cudaStandinCalls(const char* function) {
  const std::lock_guard lock(runtime().mutex);
  return runtime().calls.Of(function);
}

void cudaStandinResetCalls() {
  const std::lock_guard lock(runtime().mutex);
  runtime().calls.Reset();
}

void cudaStandinFail(const char* function, int error, int after) {
  const std::lock_guard lock(runtime().mutex);
  runtime().calls.Fail({function, error, after});
}

// False: the list is wrong, which is printed.
int cudaStandinSet(const char* list) {
  const Call call(nullptr, Needs::kNothing);
  try {
    runtime().Change(list);
    return 1;
  } catch (const std::invalid_argument& error) {
    std::fprintf(stderr, "cuda stand-in: %s\n", error.what());
    return 0;
  }
}

uint64_t cudaStandinUsedBytes(int device) {
  const std::lock_guard lock(runtime().mutex);
  return runtime().devices.at(device)->memory.used();
}

void cudaStandinCounters(const char* kernel, uint64_t* numbers, int count) {
  const std::lock_guard lock(runtime().mutex);
  const auto found = runtime().profiles.find(kernel);
  if (found == runtime().profiles.end()) return;
  const auto* from = reinterpret_cast<const uint64_t*>(&found->second.total);
  std::copy_n(from, std::min<size_t>(count, sizeof(ptx::Counters) / sizeof(uint64_t)), numbers);
}

void cudaStandinResetCounters() {
  const std::lock_guard lock(runtime().mutex);
  runtime().profiles.clear();
}

}  // extern "C"
