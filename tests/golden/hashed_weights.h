// Weights that are computed, not stored: the twin of tests/golden/hashed_weights.py, which defines
// them.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace peerage {

inline uint64_t Fnv1a(std::string_view text) {
  uint64_t value = 0xCBF29CE484222325;
  for (const unsigned char byte : text) value = (value ^ byte) * 0x100000001B3;
  return value;
}

// Eight bytes of a tensor's sequence; `seed` is the hash of its name.
inline uint64_t HashedWord(uint64_t seed, uint64_t index) {
  uint64_t z = seed + (index + 1) * 0x9E3779B97F4A7C15;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
  return z ^ (z >> 31);
}

// The bytes of a value that the type holds exactly.
inline std::string StoredAs(std::string_view dtype, float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  if (dtype == "BF16") bits >>= 16;
  // Only values that are normal in f16 occur: 2^-13 and above, and zero.
  if (dtype == "F16") {
    const uint32_t magnitude = bits & 0x7FFFFFFF;
    bits = (bits >> 31) << 15 | (magnitude == 0 ? 0 : (magnitude >> 13) - (112 << 10));
  }
  std::string bytes(dtype == "F32" ? 4 : 2, '\0');
  std::memcpy(bytes.data(), &bits, bytes.size());
  return bytes;
}

// The bytes of a tensor: signed bytes times 2^exponent, or values around one.
inline std::string HashedTensor(std::string_view name, size_t count, std::optional<int> exponent,
                                std::string_view dtype) {
  std::string by_byte[256];
  for (int byte = -128; byte < 128; ++byte) {
    const float value = exponent.has_value() ? std::ldexp(static_cast<float>(byte), *exponent)
                                             : 1 + static_cast<float>(byte >> 2) / 64;
    by_byte[static_cast<uint8_t>(byte)] = StoredAs(dtype, value);
  }
  const uint64_t seed = Fnv1a(name);
  const size_t size = by_byte[0].size();
  std::string bytes(count * size, '\0');
  uint64_t word = 0;
  for (size_t i = 0; i < count; ++i, word >>= 8) {
    if (i % 8 == 0) word = HashedWord(seed, i / 8);
    std::memcpy(&bytes[i * size], by_byte[word & 0xFF].data(), size);
  }
  return bytes;
}

}  // namespace peerage
