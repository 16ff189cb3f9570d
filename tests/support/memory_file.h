#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "model/checkpoint/container/random_access_file.h"

namespace peerage {

// A file whose bytes are in memory.
class MemoryFile final : public RandomAccessFile {
 public:
  explicit MemoryFile(std::string bytes, std::string path = "memory")
      : bytes_(std::move(bytes)), path_(std::move(path)) {}

  const std::string& path() const override { return path_; }
  uint64_t size() const override { return bytes_.size(); }

  absl::Status Read(uint64_t offset, absl::Span<uint8_t> bytes) const override {
    if (offset > bytes_.size() || bytes.size() > bytes_.size() - offset) {
      return absl::OutOfRangeError("read beyond the end");
    }
    if (!bytes.empty()) std::memcpy(bytes.data(), bytes_.data() + offset, bytes.size());
    return absl::OkStatus();
  }

 private:
  const std::string bytes_;
  const std::string path_;
};

}  // namespace peerage
