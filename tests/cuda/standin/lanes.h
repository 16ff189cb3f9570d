// A block's and its warps' state while they run.
#pragma once

#include <array>
#include <cstring>
#include <mutex>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "ptx.h"

namespace ptx {

inline constexpr int kLanes = 32;
inline constexpr int kMaxWarps = 32;
inline constexpr u32 kAll = ~0u;

struct BlockState;

struct CopyRequest {  // cp.async
  u32 lane = 0, group = 0, shared = 0, bytes = 0, source_bytes = 0;
  u64 global = 0;
};

// Lanes at one instruction.
struct Group {
  i32 pc = 0;
  u32 mask = 0;
  bool waits = false;  // for other lanes
};

// What a warp knows of the others: accesses of warp v with a stamp below times[v] came before.
using Clock = std::array<u32, kMaxWarps>;

struct Warp {
  u8* regs = nullptr;
  u32 live = 0;  // lanes that exist and have not exited
  u32 existing = 0;
  u32 blocked = 0;  // lanes at barriers
  int index = 0, first_thread = 0;
  u16 sync_epoch = 1;   // counts bar.warp.sync
  bool yields = false;  // lets other warps go on
  std::vector<Group> groups;
  std::vector<CopyRequest> copies;
  u32 committed[kLanes] = {};
  Memory::Range last_range;
  Clock clock{};
  BlockState* block = nullptr;

  template <class T>
  T* at(u32 offset) {
    return reinterpret_cast<T*>(regs + offset);
  }
  u32* w(u32 offset) { return at<u32>(offset); }
  u64* q(u32 offset) { return at<u64>(offset); }
};

// Of a 32-bit word of shared memory: who used it last, in threads and stamps of BlockState::now.
struct Shadow {
  u32 write_stamp = 0, read_stamp = 0, atomic_stamp = 0;  // 0: never
  u32 read_warps = 0, atomic_warps = 0;                   // that did so with that stamp
  u16 write_sync = 0, read_sync = 0;                      // their warp's sync_epoch
  u16 writer = 0, reader = 0;                             // a thread, or kSeveral
  u8 written = 0;                                         // bytes, a bit each, that somebody wrote
  u8 write_bytes = 0, read_bytes = 0;
  u8 is_red = 0;  // of a red zone
  u8 copies = 0;  // cp.async on their way
};
inline constexpr u16 kSeveral = 0xffff;

struct Waiter {
  Warp* warp = nullptr;
  u32 mask = 0;
  const Inst* inst = nullptr;
};
struct Barrier {
  u32 arrived = 0;  // threads
  u32 wanted = 0;   // 0: all of the block
  u32 count = 0;    // of true predicates
  bool all = true;
  Clock clock{};
  std::vector<Waiter> waiters;
};

// Blocks that a block knows to have done what they did, by atomics and fences: bits by their index
// in the launch.
using Blocks = std::vector<u64>;

// What the blocks of a launch share.
struct LaunchState {
  std::mutex report_mutex;
  std::set<std::pair<std::string, const Inst*>> told;  // of reports
  std::mutex release_mutex;
  std::unordered_map<u64, Blocks> releases;  // by the address of the atomic that published them
  u32 first_serial = 0;                      // of the block with index 0
};

struct BlockState {
  const Launch* launch = nullptr;
  const Memory* memory = nullptr;
  const Options* options = nullptr;
  std::set<std::string>* reports = nullptr;
  LaunchState* shared_state = nullptr;
  Counters counters;
  std::vector<LineCounters> accesses;  // by instruction
  std::vector<u8> shared, local;
  std::vector<Shadow> shadow;
  std::array<Barrier, 16> barriers;
  u32 now = 1;  // grows at barriers
  Dim id;
  u32 serial = 0;       // unique among blocks of all launches
  bool fenced = false;  // since the block began: later atomics publish what it did
  Blocks known;

  void Report(const Inst& inst, int thread, const char* what);
};

std::string Where(const BlockState& block, const Inst& inst, int thread);

}  // namespace ptx
