// Numbers as files and messages hold them: least significant byte first, at any alignment.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace peerage {

static_assert(std::endian::native == std::endian::little, "numbers are copied as they are");

// T: an integer or a floating-point type, as in all of these.
template <typename T>
T LoadLittleEndian(const uint8_t* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

template <typename T>
void StoreLittleEndian(T value, uint8_t* bytes) {
  std::memcpy(bytes, &value, sizeof(T));
}

template <typename T>
std::string LittleEndianBytes(T value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof(T));
}

// Appends the values of a vector or span, one after the other.
template <typename Values>
void AppendLittleEndian(const Values& values, std::string& bytes) {
  bytes.append(reinterpret_cast<const char*>(values.data()),
               values.size() * sizeof(*values.data()));
}

// Appends the whole values in the bytes to a vector.
template <typename T>
void AppendFromLittleEndian(const std::string& bytes, std::vector<T>& values) {
  const size_t before = values.size(), count = bytes.size() / sizeof(T);
  if (count == 0) return;
  values.resize(before + count);
  std::memcpy(values.data() + before, bytes.data(), count * sizeof(T));
}

}  // namespace peerage
