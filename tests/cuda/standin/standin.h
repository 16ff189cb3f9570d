// What tests may ask of the stand-in for the CUDA runtime, and tell it. A program that is linked
// with the real runtime knows nothing of this header.
//
// Also by environment, for a program whose libcudart.so.13 was swapped for this one:
//   CUDA_STANDIN=memory=1073741824,schedule=lazy,seed=7,threads=2,check=0,fail=cudaMalloc:3:2
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>

#include "ptx.h"

namespace standin {

// When queued work runs. A program without a synchronisation bug cannot tell them apart.
enum class Schedule {
  kEager,   // at once
  kLazy,    // only when somebody waits for it: shows host buffers reused or read too early
  kRandom,  // some of it, now and then
};

struct Config {
  uint64_t memory_bytes = uint64_t{1}
                          << 30;  // of the device; pages that nobody touches cost nothing
  Schedule schedule = Schedule::kEager;
  ptx::Options execution;
  bool trace = false;  // every kernel's time to stderr
  int target = 90;     // compute capability: PTX of the highest target up to it is run
};
Config& config();  // memory_bytes counts until the first allocation

// Calls of an API function since the last reset, by its name.
uint64_t Calls(const std::string& function);
void ResetCalls();
// The `after`-th call from now (0: the next) returns `error` and does nothing.
void Fail(const std::string& function, int error, int after = 0);

const std::map<std::string, ptx::Profile>& Profiles();
void ResetProfiles();
double KernelSeconds();  // of CPU time, spent in kernels; and in matrix products:
double MatmulSeconds();
std::set<std::string>& Reports();  // races and the like; tests want it empty
uint64_t UsedBytes();              // of device memory
void ResetDevice();                // frees everything and forgets errors

}  // namespace standin

// For the other stand-in libraries.
extern "C" {
cudaError_t cudaStandinEnqueue(cudaStream_t stream, const char* name,
                               std::function<cudaError_t()>* work);
// Host address of device bytes, or null when they are no allocation's.
void* cudaStandinBytes(const void* device, size_t bytes);
int cudaStandinCall(const char* function);  // counts it; an injected error, or 0
double cudaStandinCpuSeconds();
void cudaStandinMatmulSeconds(double seconds);
}
