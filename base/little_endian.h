#pragma once

#include <cstdint>
#include <cstring>

namespace peerage {

// The unsigned integer in the sizeof(T) bytes at `bytes`, least significant first; any alignment.
template <typename T>
T LoadLittleEndian(const uint8_t* bytes) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) value |= static_cast<T>(static_cast<T>(bytes[i]) << 8 * i);
  return value;
}

}  // namespace peerage
