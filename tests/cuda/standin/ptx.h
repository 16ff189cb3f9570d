// Executes PTX, the assembly text that nvcc puts into every program, on the CPU. Test code only.
//
// A warp runs as 32 lanes side by side: a register is an array of 32 values, so one PTX instruction
// is one short loop that the compiler turns into vector instructions. Lanes that diverge become
// groups; the group with the lowest address runs first, and groups that meet are one again.
//
// What it does not know it refuses (an Error with the PTX line): never a guess.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace ptx {

using u8 = uint8_t;
using u16 = uint16_t;
using u32 = uint32_t;
using u64 = uint64_t;
using i32 = int32_t;
using i64 = int64_t;

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Dim {
  u32 x = 1, y = 1, z = 1;
  u64 count() const { return u64{x} * y * z; }
};

// Device memory: ranges of device addresses. The bytes of address a lie at a + alias, so that host
// code which follows a device pointer meets an unmapped page.
class Memory {
 public:
  struct Range {
    u64 begin = 0, end = 0;
  };
  void Add(u64 begin, u64 bytes) { ranges_[begin] = begin + bytes; }
  bool Remove(u64 begin) { return ranges_.erase(begin) == 1; }
  // The allocation that holds `address`; empty when there is none.
  Range Find(u64 address) const {
    auto next = ranges_.upper_bound(address);
    if (next == ranges_.begin()) return {};
    --next;
    return address < next->second ? Range{next->first, next->second} : Range{};
  }
  bool Holds(u64 address, u64 bytes) const {
    const Range r = Find(address);
    return address >= r.begin && address + bytes <= r.end && address + bytes >= address;
  }
  u8* At(u64 address) const { return reinterpret_cast<u8*>(address + alias); }
  u64 alias = 0;
  // Who touched each 32-bit word last (launch, block), for races between blocks; null: not kept.
  struct Touch {
    u64 writer = 0, reader = 0;
  };
  Touch* touches = nullptr;  // of the word at `first`
  u64 first = 0;
  u64 tracked = u64{1} << 40;
  bool IsTracked(u64 address) const { return address - first < tracked; }

  // Places module variables: an address of so many bytes, already added.
  std::function<u64(u64 bytes)> allocate;

  // Bytes that nobody has written since they were allocated. The runtime says when: MarkFresh for a
  // new allocation, MarkWritten for what copies, fills and libraries write; kernels say it
  // themselves. Memory that was never marked fresh counts as written. Ranges must be tracked.
  void MarkFresh(u64 begin, u64 bytes);
  void MarkWritten(u64 begin, u64 bytes) const;
  // A copy within the device brings what is known of its source.
  void CopyMarks(u64 to, u64 from, u64 bytes) const;
  // A bit for each byte, or null when nothing was ever marked fresh.
  u8* fresh() const { return fresh_; }
  bool IsFresh(u64 address) const {
    const u64 at = address - first;
    return fresh_ != nullptr && (fresh_[at / 8] >> at % 8 & 1) != 0;
  }

 private:
  std::map<u64, u64> ranges_;
  u8* fresh_ = nullptr;
};

struct Counters {
  u64 launches = 0, blocks = 0;
  u64 instructions = 0, lane_instructions = 0;  // of warps; of lanes
  u64 load_requests = 0, load_sectors = 0;      // global: warp requests, 32-byte sectors
  u64 load_bytes = 0;                           // that lanes asked for
  u64 store_requests = 0, store_sectors = 0;
  u64 shared_requests = 0, shared_wavefronts = 0, bank_conflicts = 0;  // wavefronts above the least
  u64 barriers = 0, divergent_branches = 0, mma = 0;
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

struct Warp;
struct Inst;
using Fn = void (*)(Warp&, const Inst&, u32 mask);

enum class Kind : u8 { kPlain, kBranch, kExit, kBarrier, kCollective };

inline constexpr u32 kNone = ~0u;

// One decoded instruction. Operands are byte offsets into a warp's registers.
struct Inst {
  Fn fn = nullptr;
  Kind kind = Kind::kPlain;
  u8 mode = 0, vec = 1, bytes = 0, address64 = 0;
  bool negated = false;  // the guard
  bool negated_combine() const { return mode & 8; }
  u32 guard = kNone;  // predicate register
  i32 target = -1;
  u32 members = kNone;    // register with the member mask of a collective
  std::array<u32, 14> r;  // kNone: not used
  Inst() { r.fill(kNone); }
  i64 offset = 0;
  i32 line = 0;    // of the source: file * 2^16 + line, or 0
  i32 number = 0;  // of the PTX text
};

struct Parameter {
  u32 offset = 0, bytes = 0;
};

struct Kernel {
  std::string name;
  std::vector<Parameter> parameters;
  u32 parameter_bytes = 0;
  u32 static_shared = 0;
  std::vector<u32> red_zones;  // 32 bytes each, behind the arrays in shared memory
  u32 max_threads = 1024;      // .maxntid
  // Decoded at the first launch.
  bool decoded = false;
  std::vector<Inst> code;
  std::vector<std::string> text;  // of each instruction
  u32 register_bytes = 0;
  std::shared_ptr<const std::map<int, std::string>> files;
  std::string Place(const Inst& inst) const;  // "file:line"
  struct Constant {
    u32 at = 0;
    bool wide = false;
    u64 value = 0;
  };
  std::vector<Constant> constants;            // registers that hold one value in all lanes
  std::vector<std::pair<u32, int>> specials;  // register, index into kSpecials
};

// The kernels of a program.
class Module {
 public:
  // Adds what a PTX text declares. Kernels are decoded when they are first launched.
  void Add(std::string text, Memory& memory);
  Kernel& Get(const std::string& name);  // decoded; throws Error
  const std::unordered_map<std::string, u64>& globals() const { return globals_; }
  struct Variable {
    u64 address = 0, bytes = 0;
  };
  // A __device__ or __constant__ variable by its name in PTX; throws Error when there is none.
  Variable Find(const std::string& name);

 private:
  friend class Decoder;
  struct Source {
    size_t begin = 0;  // of the body, after '{'
    int line = 0;
    std::shared_ptr<const std::string> text;
    std::map<std::string, u32> parameters;
    std::string dynamic_shared;
  };
  std::unordered_map<std::string, Kernel> kernels_;
  std::unordered_map<std::string, Source> sources_;
  std::unordered_map<std::string, u64> globals_;
};

struct Options {
  int threads = 1;           // host threads that share a launch's blocks
  u64 seed = 0;              // 0: warps and blocks in order, else shuffled
  bool count = true;         // sectors, wavefronts
  bool check_shared = true;  // races, uninitialised reads, red zones of shared memory
  bool check_global = true;  // races between blocks of a launch
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

inline constexpr u64 kSharedWindow = u64{1} << 60;

}  // namespace ptx
