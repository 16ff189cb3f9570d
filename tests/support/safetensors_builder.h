#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/little_endian.h"

namespace peerage {

// The bytes of a .safetensors file with this header, whatever it says, and these data.
inline std::string SafetensorsFile(const std::string& header, const std::string& data) {
  return LittleEndianBytes<uint64_t>(header.size()) + header + data;
}

// Composes valid .safetensors files, tensor after tensor.
class SafetensorsBuilder {
 public:
  SafetensorsBuilder& Add(const std::string& name, const std::string& dtype,
                          const std::vector<int64_t>& shape, const std::string& bytes) {
    entries_.push_back(absl::StrCat("\"", name, "\":{\"dtype\":\"", dtype, "\",\"shape\":[",
                                    absl::StrJoin(shape, ","), "],\"data_offsets\":[", data_.size(),
                                    ",", data_.size() + bytes.size(), "]}"));
    data_ += bytes;
    return *this;
  }

  SafetensorsBuilder& Metadata(const std::string& json) {
    entries_.push_back(absl::StrCat("\"__metadata__\":", json));
    return *this;
  }

  std::string Build() const {
    return SafetensorsFile(absl::StrCat("{", absl::StrJoin(entries_, ","), "}"), data_);
  }

 private:
  std::vector<std::string> entries_;
  std::string data_;
};

}  // namespace peerage
