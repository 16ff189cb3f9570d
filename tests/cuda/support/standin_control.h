#pragma once

#include <cstdint>
#include <string>
#include <vector>

// What tests may ask of the stand-in for the CUDA libraries, and tell it, when it is there: the
// same program runs on a GPU, where there is nobody to ask. Found by name in the running process,
// so that nothing links it.
namespace peerage::standin {

bool IsPresent();

// Changes settings (tests/cuda/standin/runtime/settings.h), such as "schedule=random,seed=7", after
// what is queued has run. False: the list is wrong, or nobody is there.
bool Set(const std::string& settings);

// Races and the like, which a device would not notice. Taking them clears them.
std::vector<std::string> TakeReports();

// Calls of a function of the CUDA runtime or cuBLASLt since ResetCalls; also "host to device
// copies", "device to host copies", "device to device copies", "pageable copies", and "kernels"
// that ran, of graphs too. 0 on a GPU.
uint64_t Calls(const std::string& function);
void ResetCalls();

// The `after`-th call from now (0: the next) returns `error` and does nothing.
void Fail(const std::string& function, int error, int after = 0);

uint64_t UsedBytes(int device = 0);

// What a kernel (by its name without namespaces, arguments and template arguments) did since
// ResetCounters; zeros when it was not launched.
struct KernelCounters {
  uint64_t launches = 0, blocks = 0;
  uint64_t instructions = 0, lane_instructions = 0;  // of warps; of lanes
  uint64_t load_requests = 0, load_sectors = 0;      // global: warp requests, 32-byte sectors
  uint64_t load_bytes = 0;                           // that lanes asked for
  uint64_t store_requests = 0, store_sectors = 0;
  uint64_t shared_requests = 0, shared_wavefronts = 0, bank_conflicts = 0;
  uint64_t barriers = 0, divergent_branches = 0, mma = 0;
  uint64_t block_threads = 0, block_shared_bytes = 0;  // most of a launch
};
KernelCounters Counters(const std::string& kernel);
void ResetCounters();

}  // namespace peerage::standin
