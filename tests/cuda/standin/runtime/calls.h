#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "settings.h"

namespace standin {

// How often each function was called, and which call is to fail.
class Calls {
 public:
  // Counts a call; the error that it is to return, or 0.
  int Count(const std::string& function);
  void Fail(const Failure& failure) { failures_.push_back(failure); }
  uint64_t Of(const std::string& function) const;
  void Reset() { counts_.clear(); }
  void ForgetFailures() { failures_.clear(); }

 private:
  std::unordered_map<std::string, uint64_t> counts_;
  std::vector<Failure> failures_;
};

}  // namespace standin
