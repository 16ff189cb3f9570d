#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "base/little_endian.h"
#include "base/status_macros.h"
#include "model/checkpoint/container/random_access_file.h"

namespace peerage {

// Reads a file from front to back through a buffer, up to `end`. Every read past the end is an
// error before anything is allocated for it.
class GgufScanner {
 public:
  // Precondition: end <= file.size(), and the file outlives the scanner.
  GgufScanner(const RandomAccessFile& file, uint64_t end) : file_(file), end_(end) {}

  uint64_t position() const { return buffer_begin_ + next_; }
  uint64_t remaining() const { return end_ - position(); }

  absl::Status Bytes(absl::Span<uint8_t> bytes);

  // An unsigned integer, least significant byte first.
  template <typename T>
  absl::StatusOr<T> Integer() {
    uint8_t bytes[sizeof(T)];
    RETURN_IF_ERROR(Bytes(absl::MakeSpan(bytes)));
    return LoadLittleEndian<T>(bytes);
  }

  // A length (64 bits) and as many bytes, at most max_bytes.
  absl::StatusOr<std::string> String(uint64_t max_bytes);

 private:
  absl::Status Refill();

  const RandomAccessFile& file_;
  const uint64_t end_;
  std::vector<uint8_t> buffer_;
  uint64_t buffer_begin_ = 0;  // position of buffer_[0] in the file
  size_t next_ = 0;            // in buffer_
};

}  // namespace peerage
