#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "model/checkpoint/container/random_access_file.h"
#include "model/checkpoint/layout/tensor_binding.h"

namespace peerage {

using WeightFiles = std::vector<std::unique_ptr<RandomAccessFile>>;

// Reads a bound tensor in its canonical order. A router tensor with a NaN or an infinity, or a
// variance below zero, is an error that names the stored tensor: selection would follow it, and
// silently. Precondition: bytes.size() == tensor.info.bytes.
absl::Status ReadTensor(const WeightFiles& files, const BoundTensor& tensor,
                        absl::Span<uint8_t> bytes);

// Reads rows [first, first + n) of the first dimension, where n follows from bytes.size(). Of
// tensors whose bytes are stored in their order it reads no more than that; the others (never
// tables) are read whole. Rows that are not there are OUT_OF_RANGE.
absl::Status ReadTensorRows(const WeightFiles& files, const BoundTensor& tensor, int64_t first,
                            absl::Span<uint8_t> bytes);

}  // namespace peerage
