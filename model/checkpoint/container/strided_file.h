#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "model/checkpoint/container/random_access_file.h"

namespace peerage {

// Where the elements of a tensor lie in a file, in whatever order.
struct StridedLayout {
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;  // in elements, by dimension; 0 where one element is many
  uint64_t offset = 0;           // of the first element, in bytes
  int element_bytes = 0;         // 1, 2, 4 or 8
  bool swap_bytes = false;       // whether an element's most significant byte comes first
};

// One tensor of another file as a file of its own, row-major and least significant byte first.
// Reads what lies near each other together, in pieces of at most 1 MiB.
class StridedFile final : public RandomAccessFile {
 public:
  // Preconditions: every element is within `base`, which outlives this; there is at least one
  // element, and sizes do not overflow.
  StridedFile(const RandomAccessFile& base, StridedLayout layout);

  const std::string& path() const override { return base_.path(); }
  uint64_t size() const override { return size_; }
  absl::Status Read(uint64_t offset, absl::Span<uint8_t> bytes) const override;

 private:
  const RandomAccessFile& base_;
  const StridedLayout layout_;
  const uint64_t size_;
};

}  // namespace peerage
