#include "model/transform/tensor_values.h"

#include <algorithm>
#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "model/checkpoint/plain_values.h"
#include "model/kernels/stored_block.h"
#include "model/status_macros.h"

namespace peerage::transform {

absl::StatusOr<std::vector<float>> ReadFloatRows(const Checkpoint& checkpoint,
                                                 const TensorInfo& tensor, int64_t first,
                                                 int64_t rows) {
  const int64_t elements = RowElements(tensor.shape);
  const size_t row_bytes = RowBytes(tensor.type, elements);
  std::vector<uint8_t> stored(rows * row_bytes);
  RETURN_IF_ERROR(checkpoint.ReadRows(tensor, first, absl::MakeSpan(stored)));
  if (IsPlain(tensor.type)) return FloatsOf(tensor.type, stored);
  std::vector<float> values(rows * elements);
  for (int64_t r = 0; r < rows; ++r) {
    kernels::DequantizeRow(tensor.type, stored.data() + r * row_bytes, elements,
                           values.data() + r * elements);
  }
  return values;
}

absl::StatusOr<std::vector<uint8_t>> StoreInRange(TensorType type, absl::Span<const float> values) {
  std::vector<uint8_t> stored(RowBytes(type, values.size()));
  StoreFloats(type, values, absl::MakeSpan(stored));
  if (!AllFinite(type, stored) &&
      std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); })) {
    return absl::OutOfRangeError(
        absl::StrCat("a value is beyond the range of ", std::string(Traits(type).name)));
  }
  return stored;
}

int64_t RowElements(const std::vector<int64_t>& shape) {
  int64_t elements = 1;
  for (size_t i = 1; i < shape.size(); ++i) elements *= shape[i];
  return elements;
}

std::string SafetensorsWord(TensorType type) {
  return absl::AsciiStrToUpper(std::string(Traits(type).name));
}

}  // namespace peerage::transform
