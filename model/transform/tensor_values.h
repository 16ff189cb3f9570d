#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/checkpoint/checkpoint.h"
#include "model/tensor_type.h"

namespace peerage::transform {

// Rows [first, first + rows) of the first dimension, whatever their dtype, as f32. Exact but for
// quantised values that f32 does not hold.
absl::StatusOr<std::vector<float>> ReadFloatRows(const Checkpoint& checkpoint,
                                                 const TensorInfo& tensor, int64_t first,
                                                 int64_t rows);

// The values in a plain dtype, rounded to nearest even. A finite value that becomes infinite is
// OUT_OF_RANGE.
absl::StatusOr<std::vector<uint8_t>> StoreInRange(TensorType type, absl::Span<const float> values);

// Elements of all dimensions but the first.
int64_t RowElements(const std::vector<int64_t>& shape);

// F32, F16 or BF16, as safetensors files call it. Precondition: a plain dtype.
std::string SafetensorsWord(TensorType type);

}  // namespace peerage::transform
