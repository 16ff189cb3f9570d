#pragma once

#include <cstdint>
#include <cstring>

#include "model/kernels/float16.h"

namespace peerage::kernels {

// The T whose little-endian bytes are at `p`; any alignment.
template <typename T>
T Load(const uint8_t* p) {
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

inline float LoadF16(const uint8_t* p) { return F32FromF16(Load<uint16_t>(p)); }

}  // namespace peerage::kernels
