#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace peerage {

// The bytes of one file.
//
// Threads: Read may be called from several threads at once.
class RandomAccessFile {
 public:
  virtual ~RandomAccessFile() = default;

  // For error texts.
  virtual const std::string& path() const = 0;

  virtual uint64_t size() const = 0;

  // Fills `bytes` from `offset` on, whole or not at all: a range beyond the end is OUT_OF_RANGE.
  virtual absl::Status Read(uint64_t offset, absl::Span<uint8_t> bytes) const = 0;
};

// Opens a regular file. Files are read, never mapped: one that shrinks while it is mapped kills
// the process. A file that changes after it was opened makes every later Read fail with DATA_LOSS.
absl::StatusOr<std::unique_ptr<RandomAccessFile>> OpenRandomAccessFile(const std::string& path);

// The whole of a small file; more than `max_bytes` is an error.
absl::StatusOr<std::string> ReadTextFile(const std::string& path, uint64_t max_bytes);

}  // namespace peerage
