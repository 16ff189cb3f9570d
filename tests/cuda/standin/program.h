// Decoded kernels, and the modules that have them.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "memory.h"

namespace ptx {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Warp;
struct Inst;
using Fn = void (*)(Warp&, const Inst&, u32 mask);

enum class Kind : u8 { kPlain, kBranch, kTable, kExit, kBarrier, kCollective };

inline constexpr u32 kNone = ~0u;

// One decoded instruction. Operands are byte offsets into a warp's registers; what the fields after
// `kind` mean is said where an instruction's function is declared.
struct Inst {
  Fn fn = nullptr;
  Kind kind = Kind::kPlain;
  u8 mode = 0, vec = 1, bytes = 0, address64 = 0;
  bool negated = false;     // the guard
  u32 guard = kNone;        // predicate register
  i32 target = -1;          // of a branch; of a table of targets, its index
  u32 members = kNone;      // register with the member mask of a collective
  std::array<u32, 14> r{};  // kNone: not used
  i64 offset = 0;
  i32 line = 0;    // of the source: file * 2^16 + line, or 0
  i32 number = 0;  // of the PTX text
  Inst() { r.fill(kNone); }
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
  std::vector<std::string> text;         // of each instruction
  std::vector<std::vector<i32>> tables;  // targets of indexed branches
  u32 register_bytes = 0;
  u32 local_bytes = 0;  // of a thread
  std::shared_ptr<const std::map<int, std::string>> files;
  std::string Place(const Inst& inst) const;  // "file:line"
  struct Constant {
    u32 at = 0;
    bool wide = false;
    u64 value = 0;
  };
  std::vector<Constant> constants;            // registers that hold one value in all lanes
  std::vector<std::pair<u32, int>> specials;  // register, index into special_registers.h
};

struct ModuleSyntax;

// The kernels and variables of a program.
class Module {
 public:
  Module();
  ~Module();
  Module(Module&&) noexcept;
  Module& operator=(Module&&) noexcept;

  // Adds what a PTX text declares, and places its variables. Kernels are decoded when they are
  // first launched.
  void Add(std::string text, Memory& memory);
  Kernel& Get(const std::string& name);  // decoded; throws Error

  // Addresses of __device__ and __constant__ variables by their names in PTX.
  const std::unordered_map<std::string, u64>& globals() const { return globals_; }
  struct Variable {
    u64 address = 0, bytes = 0;
  };
  // One of them by its name; throws Error when there is none.
  Variable Find(const std::string& name) const;

 private:
  friend class Assembler;
  void PlaceVariables(const Memory& memory);

  std::unique_ptr<ModuleSyntax> syntax_;
  std::unordered_map<std::string, Kernel> kernels_;
  std::unordered_map<std::string, u64> globals_;
};

}  // namespace ptx
