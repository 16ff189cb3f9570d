#include "model/transform/convert/converted_tensor.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "model/checkpoint/layout/axis_swap.h"
#include "model/checkpoint/layout/stored_values.h"

namespace peerage::transform {

ConvertedTensor::ConvertedTensor(const Checkpoint& checkpoint, TensorSpec spec, TensorType type)
    : checkpoint_(checkpoint),
      spec_(std::move(spec)),
      type_(type),
      source_(*checkpoint.Find(spec_.name)) {}

uint64_t ConvertedTensor::bytes() const {
  return spec_.shape.front() * RowBytes(type_, RowElements(spec_.shape));
}

int64_t ConvertedTensor::rows_at_once() const {
  if (std::holds_alternative<AxisSwap>(spec_.transform)) return spec_.shape.front();
  return std::max<int64_t>(1, kElementsAtOnce / RowElements(spec_.shape));
}

absl::StatusOr<StoredRows> ConvertedTensor::Rows(int64_t first, int64_t rows) const {
  std::vector<uint8_t> stored(rows * RowBytes(source_.type, RowElements(spec_.shape)));
  RETURN_IF_ERROR(checkpoint_.ReadRows(source_, first, absl::MakeSpan(stored)));
  absl::StatusOr<StoredRows> converted = Store(std::move(stored));
  if (!converted.ok()) return At(absl::StrCat("tensor ", Quoted(name())), converted.status());
  const AxisSwap* order = std::get_if<AxisSwap>(&spec_.transform);
  if (order == nullptr) return converted;
  std::vector<uint8_t> ordered(converted->bytes.size());
  SwapAxes({.outer = order->outer,
            .stored_first = order->stored_second,
            .stored_second = order->stored_first},
           converted->bytes, absl::MakeSpan(ordered));
  converted->bytes = std::move(ordered);
  return converted;
}

absl::StatusOr<StoredRows> ConvertedTensor::Store(std::vector<uint8_t> rows) const {
  if (source_.type == type_) return StoredRows{.bytes = std::move(rows)};
  return StoreInRange(type_, FloatsOf(source_.type, rows));
}

}  // namespace peerage::transform
