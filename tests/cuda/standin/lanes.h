// A warp's state while it runs.
#pragma once

#include <bit>
#include <cstring>
#include <vector>

#include "ptx.h"

namespace ptx {

struct BlockState;

struct CopyRequest {  // cp.async
  u32 lane = 0, group = 0, shared = 0, bytes = 0, source_bytes = 0;
  u64 global = 0;
};

struct Group {
  i32 pc = 0;
  u32 mask = 0;
  bool waits = false;  // for other lanes
};

struct Warp {
  u8* regs = nullptr;
  u32 live = 0;  // lanes that exist and have not exited
  u32 existing = 0;
  u32 at_barrier = 0;
  i32 barrier_pc = -1;
  int first_thread = 0;
  u32 sync_epoch = 1;  // counts bar.warp.sync
  std::vector<Group> groups;
  std::vector<CopyRequest> copies;
  u32 committed[32] = {};
  Memory::Range last_range;
  BlockState* block = nullptr;

  template <class T>
  T* at(u32 offset) {
    return reinterpret_cast<T*>(regs + offset);
  }
  u32* w(u32 offset) { return at<u32>(offset); }
  u64* q(u32 offset) { return at<u64>(offset); }
};

struct Shadow {  // of a 32-bit word of shared memory
  u32 write_epoch = 0, read_epoch = 0;
  u32 write_sync = 0;
  u16 writer = 0xffff, reader = 0xffff;
  bool written = false, many_readers = false, red = false;
};

struct BlockState {
  const Launch* launch = nullptr;
  const Memory* memory = nullptr;
  const Options* options = nullptr;
  std::set<std::string>* reports = nullptr;
  std::mutex* report_mutex = nullptr;
  Counters counters;
  std::vector<LineCounters> accesses;  // by instruction
  std::vector<u8> shared;
  std::vector<Shadow> shadow;
  u32 epoch = 1;
  Dim id;
  u64 tag = 0;  // launch and block

  void Report(const Inst& inst, int thread, const char* what);
};

std::string Where(const BlockState& block, const Inst& inst, int thread);

}  // namespace ptx
