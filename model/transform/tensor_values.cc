#include "model/transform/tensor_values.h"

#include <span>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "model/checkpoint/layout/stored_values.h"
#include "model/nn/conversions.h"

namespace peerage::transform {
int64_t RowElements(const std::vector<int64_t>& shape) {
  return Elements(std::span(shape).subspan(1));
}

absl::StatusOr<std::vector<float>> ReadFloatRows(const Checkpoint& checkpoint,
                                                 const TensorInfo& tensor, int64_t first,
                                                 int64_t rows) {
  const int64_t elements = RowElements(tensor.shape);
  std::vector<uint8_t> stored(rows * RowBytes(tensor.type, elements));
  RETURN_IF_ERROR(checkpoint.ReadRows(tensor, first, absl::MakeSpan(stored)));
  return FloatsOf(tensor.type, stored);
}

absl::StatusOr<std::vector<float>> ReadFiniteRows(const Checkpoint& checkpoint,
                                                  const TensorInfo& tensor, int64_t first,
                                                  int64_t rows) {
  ASSIGN_OR_RETURN(std::vector<float> values, ReadFloatRows(checkpoint, tensor, first, rows));
  if (AllFinite(values)) return values;
  return absl::InvalidArgumentError(
      absl::StrCat("tensor ", Quoted(tensor.name), " holds a NaN or an infinity"));
}

absl::StatusOr<StoredRows> StoreInRange(TensorType type, absl::Span<const float> values) {
  if (!IsPlain(type) && !AllFinite(values)) {
    return absl::InvalidArgumentError(
        absl::StrCat("holds a NaN or an infinity, which ", Traits(type).name, " cannot"));
  }
  StoredRows rows{.bytes = std::vector<uint8_t>(RowBytes(type, values.size()))};
  rows.loss = StoreFloats(type, values, absl::MakeSpan(rows.bytes));
  RETURN_IF_ERROR(nn::CheckHeld(type, {.overflown = rows.loss.overflown}));
  return rows;
}

std::string SafetensorsWord(TensorType type) { return absl::AsciiStrToUpper(Traits(type).name); }

}  // namespace peerage::transform
