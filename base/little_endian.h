#pragma once

#include <bit>
#include <cstdint>
#include <string>

#include "absl/types/span.h"

namespace peerage {

// The unsigned integer in the sizeof(T) bytes at `bytes`, least significant first; any alignment.
template <typename T>
T LoadLittleEndian(const uint8_t* bytes) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) value |= static_cast<T>(static_cast<T>(bytes[i]) << 8 * i);
  return value;
}

// Appends the values to `bytes`, each least significant byte first.
template <typename T>
void AppendLittleEndian(absl::Span<const T> values, std::string& bytes) {
  static_assert(std::endian::native == std::endian::little);
  bytes.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

}  // namespace peerage
