#pragma once

#include <cstdint>
#include <functional>

#include "absl/status/status.h"

namespace peerage::transform {

struct Progress {
  uint64_t bytes = 0;  // written so far
  uint64_t total_bytes = 0;
};

// Called on the caller's thread before anything is made, and then after each piece of a tensor; may
// be empty. An error ends the work, which leaves nothing behind.
using ProgressFunction = std::function<absl::Status(const Progress&)>;

inline absl::Status Report(const ProgressFunction& function, const Progress& progress) {
  return function ? function(progress) : absl::OkStatus();
}

}  // namespace peerage::transform
