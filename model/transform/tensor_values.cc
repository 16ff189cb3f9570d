#include "model/transform/tensor_values.h"

#include <algorithm>
#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "model/checkpoint/layout/plain_values.h"
#include "model/kernels/stored_block.h"

namespace peerage::transform {
namespace {

void Quantize(TensorType type, int64_t row_elements, absl::Span<const float> values,
              uint8_t* rows) {
  const kernels::WeightFormat format =
      type == TensorType::kQ8_0 ? kernels::WeightFormat::kQ8_0 : kernels::WeightFormat::kQ4_1;
  for (size_t i = 0; i < values.size(); i += row_elements, rows += RowBytes(type, row_elements)) {
    kernels::QuantizeRow(format, values.data() + i, row_elements, rows);
  }
}

}  // namespace

int64_t RowElements(const std::vector<int64_t>& shape) {
  int64_t elements = 1;
  for (size_t i = 1; i < shape.size(); ++i) elements *= shape[i];
  return elements;
}

std::vector<float> FloatsOfRows(TensorType type, int64_t row_elements,
                                absl::Span<const uint8_t> rows) {
  if (IsPlain(type)) return FloatsOf(type, rows);
  const size_t row_bytes = RowBytes(type, row_elements);
  const size_t count = rows.size() / row_bytes;
  std::vector<float> values(count * row_elements);
  for (size_t r = 0; r < count; ++r) {
    kernels::DequantizeRow(type, rows.data() + r * row_bytes, row_elements,
                           values.data() + r * row_elements);
  }
  return values;
}

absl::StatusOr<std::vector<float>> ReadFloatRows(const Checkpoint& checkpoint,
                                                 const TensorInfo& tensor, int64_t first,
                                                 int64_t rows) {
  const int64_t elements = RowElements(tensor.shape);
  std::vector<uint8_t> stored(rows * RowBytes(tensor.type, elements));
  RETURN_IF_ERROR(checkpoint.ReadRows(tensor, first, absl::MakeSpan(stored)));
  return FloatsOfRows(tensor.type, elements, stored);
}

absl::StatusOr<std::vector<float>> ReadFiniteRows(const Checkpoint& checkpoint,
                                                  const TensorInfo& tensor, int64_t first,
                                                  int64_t rows) {
  ASSIGN_OR_RETURN(std::vector<float> values, ReadFloatRows(checkpoint, tensor, first, rows));
  if (AllValuesFinite(values)) return values;
  return absl::InvalidArgumentError(
      absl::StrCat("tensor ", Quoted(tensor.name), " holds a NaN or an infinity"));
}

bool AllValuesFinite(absl::Span<const float> values) {
  return std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); });
}

absl::StatusOr<std::vector<uint8_t>> StoreInRange(TensorType type, int64_t row_elements,
                                                  absl::Span<const float> values) {
  const bool were_finite = AllValuesFinite(values);
  if (!were_finite && !IsPlain(type)) {
    return absl::InvalidArgumentError(absl::StrCat("holds a NaN or an infinity, which ",
                                                   std::string(Traits(type).name), " cannot"));
  }
  std::vector<uint8_t> rows(values.size() / row_elements * RowBytes(type, row_elements));
  if (IsPlain(type)) {
    StoreFloats(type, values, absl::MakeSpan(rows));
  } else {
    Quantize(type, row_elements, values, rows.data());
  }
  const bool finite = IsPlain(type) ? AllFinite(type, rows)
                                    : AllValuesFinite(FloatsOfRows(type, row_elements, rows));
  if (were_finite && !finite) {
    return absl::OutOfRangeError(
        absl::StrCat("a value is beyond the range of ", std::string(Traits(type).name)));
  }
  return rows;
}

std::string SafetensorsWord(TensorType type) {
  return absl::AsciiStrToUpper(std::string(Traits(type).name));
}

}  // namespace peerage::transform
