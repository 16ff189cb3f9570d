#pragma once

#include <bit>
#include <cstdint>
#include <string>
#include <vector>

#include "model/kernels/device_float_cuda.h"
#include "model/kernels/float16.h"
#include "tests/cuda/support/device_array.h"

namespace peerage::kernels::cuda {

inline constexpr DeviceFloat kDeviceFloats[] = {DeviceFloat::kF32, DeviceFloat::kBF16};

inline std::string NameOf(DeviceFloat type) { return type == DeviceFloat::kF32 ? "f32" : "bf16"; }

// Relative error of rounding to the type; none for f32, which results have before they are stored.
constexpr double RoundingOf(DeviceFloat type) { return type == DeviceFloat::kF32 ? 0 : 1.0 / 256; }

// What the type makes of values.
inline std::vector<float> Rounded(DeviceFloat type, std::vector<float> values) {
  if (type == DeviceFloat::kF32) return values;
  for (float& value : values) value = F32FromBF16(BF16FromF32(value));
  return values;
}

// Numbers of either type in device memory, for tests. The first may lie `unaligned` elements behind
// a 16-byte boundary.
class DeviceFloats {
 public:
  DeviceFloats(DeviceFloat type, const std::vector<float>& values, int unaligned = 0)
      : type_(type), unaligned_(unaligned), words_(Words(type, values, unaligned)) {}
  DeviceFloats(DeviceFloat type, size_t size, float value, int unaligned = 0)
      : DeviceFloats(type, std::vector<float>(size, value), unaligned) {}

  uint8_t* data() const {
    return reinterpret_cast<uint8_t*>(words_.data()) + unaligned_ * BytesOf(type_);
  }
  size_t size() const { return words_.size() * 2 / BytesOf(type_) - unaligned_; }

  // Waits for the device.
  std::vector<float> Read() const {
    const std::vector<uint16_t> words = words_.Read();
    std::vector<float> values;
    for (size_t i = unaligned_; i < unaligned_ + size(); ++i) {
      values.push_back(type_ == DeviceFloat::kBF16
                           ? F32FromBF16(words[i])
                           : std::bit_cast<float>(words[2 * i] | uint32_t{words[2 * i + 1]} << 16));
    }
    return values;
  }

 private:
  static std::vector<uint16_t> Words(DeviceFloat type, const std::vector<float>& values,
                                     int unaligned) {
    std::vector<uint16_t> words(unaligned * BytesOf(type) / 2);
    for (const float value : values) {
      const auto bits = std::bit_cast<uint32_t>(value);
      if (type == DeviceFloat::kBF16) {
        words.push_back(BF16FromF32(value));
      } else {
        words.push_back(static_cast<uint16_t>(bits));
        words.push_back(static_cast<uint16_t>(bits >> 16));
      }
    }
    return words;
  }

  DeviceFloat type_;
  int unaligned_;
  DeviceArray<uint16_t> words_;
};

}  // namespace peerage::kernels::cuda
