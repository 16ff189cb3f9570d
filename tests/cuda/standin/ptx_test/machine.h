#pragma once

#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "ptx.h"

namespace ptx {

// What a run of a kernel did.
struct Outcome {
  std::string error;  // empty: it ran to its end
  std::set<std::string> reports;
  std::string printed;
  Profile profile;
};

// Whether something was noticed whose text has `what`.
bool Noticed(const Outcome& outcome, const std::string& what);

// Device memory and a module of PTX, for tests of the interpreter alone.
class Machine {
 public:
  Machine();
  ~Machine();

  // Behind a header, as .version and the like.
  void Load(const std::string& text);

  // Bytes that nobody wrote; each allocation is apart from the others.
  u64 Allocate(u64 bytes);
  template <class T>
  u64 Upload(const std::vector<T>& values) {
    const u64 address = Allocate(values.size() * sizeof(T));
    Write(address, values.data(), values.size() * sizeof(T));
    return address;
  }
  void Write(u64 address, const void* data, u64 bytes);
  template <class T>
  std::vector<T> Read(u64 address, size_t count) const {
    std::vector<T> values(count);
    std::memcpy(values.data(), memory_.At(address), count * sizeof(T));
    return values;
  }
  Module& module() { return *module_; }

  struct Shape {
    Dim grid, block;
    u32 dynamic_shared = 0;
  };
  // Parameters are 64 bits each; a 32-bit one takes the lower half.
  Outcome Run(const std::string& kernel, const Shape& shape, const std::vector<u64>& parameters);

  Options options;

 private:
  Memory memory_;
  u64 next_ = 0;
  void* bytes_ = nullptr;
  void* touches_ = nullptr;
  std::unique_ptr<Module> module_;
};

// A kernel "test" with 64-bit parameters p0, p1, ..., which are in the registers %p0, %p1, ... of
// its body, %t the thread's number.
std::string KernelText(int parameters, const std::string& body, const std::string& before = "");

// Runs such a kernel once.
Outcome RunOnce(Machine& machine, const Machine::Shape& shape, const std::vector<u64>& parameters,
                const std::string& body, const std::string& before = "");

}  // namespace ptx
