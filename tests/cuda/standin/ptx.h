// Executes PTX, the assembly text that nvcc puts into every program, on the CPU. Test code only.
//
// A warp runs as 32 lanes side by side: a register is an array of 32 values, so one PTX instruction
// is one short loop that the compiler turns into vector instructions. Lanes that diverge become
// groups; the group with the lowest address runs first, and groups that meet are one again.
//
// What it does not know it refuses (an Error with the PTX line): never a guess.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "counters.h"
#include "memory.h"
#include "program.h"

namespace ptx {

struct Dim {
  u32 x = 1, y = 1, z = 1;
  u64 count() const { return u64{x} * y * z; }
};

struct Options {
  int threads = 1;           // host threads that share a launch's blocks
  u64 seed = 0;              // 0: warps and blocks in order, else shuffled
  bool count = true;         // sectors, wavefronts
  bool check_shared = true;  // races, uninitialised reads, red zones of shared memory
  bool check_global = true;  // races between blocks of a launch, uninitialised reads
  std::function<void(const std::string&)> print;  // what printf prints; null: to stderr
};

struct Launch {
  const Kernel* kernel = nullptr;
  Dim grid, block;
  u32 dynamic_shared = 0;
  u64 number = 0;  // of the launch
  std::vector<u8> parameters;
};

// Runs a launch to its end. Throws Error for what a device would trap on; adds to `reports` what it
// would not notice (races, reads of what nobody wrote, divergent barriers).
Profile Execute(const Launch& launch, const Memory& memory, const Options& options,
                std::set<std::string>& reports);

// Generic addresses of the other spaces; global ones are below.
inline constexpr u64 kSharedWindow = u64{1} << 60;
inline constexpr u64 kLocalWindow = u64{1} << 59;
inline constexpr u64 kParameterWindow = u64{1} << 58;
inline constexpr u64 kWindows = kSharedWindow | kLocalWindow | kParameterWindow;

}  // namespace ptx
