#pragma once

#include <cstdint>
#include <functional>

namespace peerage::transform {

struct Progress {
  uint64_t bytes = 0;  // written so far
  uint64_t total_bytes = 0;
};

// Called on the caller's thread after each piece of a tensor; may be empty.
using ProgressFunction = std::function<void(const Progress&)>;

}  // namespace peerage::transform
