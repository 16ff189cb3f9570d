// What a launch did, for tests that assert it.
#pragma once

#include <map>
#include <string>

#include "memory.h"

namespace ptx {

struct Counters {
  u64 launches = 0, blocks = 0;
  u64 instructions = 0, lane_instructions = 0;  // of warps; of lanes
  u64 load_requests = 0, load_sectors = 0;      // global: warp requests, 32-byte sectors
  u64 load_bytes = 0;                           // that lanes asked for
  u64 store_requests = 0, store_sectors = 0;
  u64 shared_requests = 0, shared_wavefronts = 0, bank_conflicts = 0;  // wavefronts above the least
  u64 barriers = 0, divergent_branches = 0, mma = 0;
  u64 block_threads = 0, block_shared_bytes = 0;  // most of a launch; these are not summed
  void Add(const Counters& o);
};

// Of the memory accesses of one source line (of the innermost function, when inlined).
struct LineCounters {
  u64 requests = 0, units = 0, least = 0;  // units: sectors, or wavefronts of shared memory
};
struct Profile {
  Counters total;
  std::map<std::string, LineCounters> global, shared;  // by "file:line"
  void Add(const Profile& o);
};

}  // namespace ptx
