#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "fat_binary.h"

namespace standin {

// What the host code that nvcc wrote has registered: fat binaries, and which address in the program
// stands for which kernel or variable of which of them.
class Program {
 public:
  struct Symbol {
    int module = 0;
    std::string name;    // in PTX
    uint64_t bytes = 0;  // of a variable
  };
  int AddModule(const void* wrapper);
  void RemoveModule(int module);  // its library is unloaded
  void AddFunction(const void* host, Symbol symbol) { functions_[host] = std::move(symbol); }
  void AddVariable(const void* host, Symbol symbol) { variables_[host] = std::move(symbol); }

  // Null: not registered.
  const Symbol* Function(const void* host) const;
  const Symbol* Variable(const void* host) const;
  const FatBinary& module(int number) const { return modules_.at(number); }

 private:
  std::map<int, FatBinary> modules_;
  std::unordered_map<const void*, Symbol> functions_, variables_;
  int next_ = 1;
};

}  // namespace standin
