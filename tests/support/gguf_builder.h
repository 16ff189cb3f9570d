#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/little_endian.h"

namespace peerage {

inline std::string GgufString(const std::string& text) {
  return LittleEndianBytes<uint64_t>(text.size()) + text;
}

// Numbers of the format, written here a second time so that a wrong one in the reader shows.
enum GgufValueId : uint32_t {
  kGgufUint8 = 0,
  kGgufInt8 = 1,
  kGgufUint16 = 2,
  kGgufInt16 = 3,
  kGgufUint32 = 4,
  kGgufInt32 = 5,
  kGgufFloat32 = 6,
  kGgufBool = 7,
  kGgufString = 8,
  kGgufArray = 9,
  kGgufUint64 = 10,
  kGgufInt64 = 11,
  kGgufFloat64 = 12,
};

// Composes .gguf files. What is public may be set to break the file.
class GgufBuilder {
 public:
  std::string magic = "GGUF";
  uint32_t version = 3;
  uint64_t alignment = 32;              // of the data; the key is the test's to add
  std::optional<uint64_t> num_tensors;  // instead of the true numbers
  std::optional<uint64_t> num_keys;

  // `value` are the bytes after the type.
  GgufBuilder& Key(const std::string& key, uint32_t type, const std::string& value) {
    keys_.push_back(GgufString(key) + LittleEndianBytes(type) + value);
    return *this;
  }
  GgufBuilder& Uint32(const std::string& key, uint32_t value) {
    return Key(key, kGgufUint32, LittleEndianBytes(value));
  }
  GgufBuilder& Float32(const std::string& key, float value) {
    return Key(key, kGgufFloat32, LittleEndianBytes(value));
  }
  GgufBuilder& Bool(const std::string& key, bool value) {
    return Key(key, kGgufBool, std::string(1, value ? 1 : 0));
  }
  GgufBuilder& String(const std::string& key, const std::string& value) {
    return Key(key, kGgufString, GgufString(value));
  }
  GgufBuilder& Array(const std::string& key, uint32_t type, uint64_t count,
                     const std::string& elements) {
    return Key(key, kGgufArray, LittleEndianBytes(type) + LittleEndianBytes(count) + elements);
  }
  GgufBuilder& Strings(const std::string& key, const std::vector<std::string>& values) {
    std::string elements;
    for (const std::string& value : values) elements += GgufString(value);
    return Array(key, kGgufString, values.size(), elements);
  }

  // `dimensions` as in the file: the contiguous one first. The offset is the right one if absent.
  GgufBuilder& Tensor(const std::string& name, const std::vector<uint64_t>& dimensions,
                      uint32_t type, const std::string& data,
                      std::optional<uint64_t> offset = std::nullopt) {
    std::string info =
        GgufString(name) + LittleEndianBytes<uint32_t>(static_cast<uint32_t>(dimensions.size()));
    for (const uint64_t dimension : dimensions) info += LittleEndianBytes(dimension);
    info += LittleEndianBytes(type) + LittleEndianBytes<uint64_t>(offset.value_or(data_.size()));
    tensors_.push_back(std::move(info));
    data_ += data;
    Pad(data_);
    return *this;
  }

  std::string Build() const {
    std::string file = magic + LittleEndianBytes(version) +
                       LittleEndianBytes<uint64_t>(num_tensors.value_or(tensors_.size())) +
                       LittleEndianBytes<uint64_t>(num_keys.value_or(keys_.size()));
    for (const std::string& key : keys_) file += key;
    for (const std::string& tensor : tensors_) file += tensor;
    Pad(file);
    return file + data_;
  }

 private:
  void Pad(std::string& bytes) const {
    while (alignment > 0 && bytes.size() % alignment != 0) bytes.push_back('\0');
  }

  std::vector<std::string> keys_;
  std::vector<std::string> tensors_;
  std::string data_;
};

}  // namespace peerage
