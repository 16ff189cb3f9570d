#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "hwy/aligned_allocator.h"

namespace peerage::kernels {

// Memory as kernels want it.
using AlignedBytes = hwy::AlignedFreeUniquePtr<uint8_t[]>;

inline AlignedBytes Zeroed(size_t bytes) {
  AlignedBytes memory = hwy::AllocateAligned<uint8_t>(bytes);
  std::memset(memory.get(), 0, bytes);
  return memory;
}

}  // namespace peerage::kernels
