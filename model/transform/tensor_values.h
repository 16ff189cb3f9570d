#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/checkpoint/checkpoint.h"
#include "model/kernels/stored_block.h"
#include "model/tensor_type.h"

namespace peerage::transform {

// Elements of a tensor that are in memory at a time, where it is read in pieces.
inline constexpr int64_t kElementsAtOnce = int64_t{1} << 22;

// Elements of all dimensions but the first.
int64_t RowElements(const std::vector<int64_t>& shape);

// Rows [first, first + rows) of the first dimension.
absl::StatusOr<std::vector<float>> ReadFloatRows(const Checkpoint& checkpoint,
                                                 const TensorInfo& tensor, int64_t first,
                                                 int64_t rows);

// As ReadFloatRows; a NaN or an infinity is an error that names the tensor.
absl::StatusOr<std::vector<float>> ReadFiniteRows(const Checkpoint& checkpoint,
                                                  const TensorInfo& tensor, int64_t first,
                                                  int64_t rows);

struct StoredRows {
  std::vector<uint8_t> bytes;
  kernels::RoundingLoss loss;  // nothing of it overflown
};

// Whole rows in a dtype that can be made: plain (rounded to nearest even), Q8_0 or Q4_1. A finite
// value beyond its range is an error. Plain dtypes keep a NaN and an infinity; in a quantised
// block, which they would spoil, they are errors, too. Whether blocks have vanished is for the
// caller to look at (nn::CheckHeld), who knows the whole tensor.
absl::StatusOr<StoredRows> StoreInRange(TensorType type, absl::Span<const float> values);

// F32, F16 or BF16, as safetensors files call it. Precondition: a plain dtype.
std::string SafetensorsWord(TensorType type);

}  // namespace peerage::transform
