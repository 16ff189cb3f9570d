#include "model/checkpoint/layout/stored_values.h"

#include <algorithm>
#include <cassert>
#include <cmath>

namespace peerage {
namespace {

size_t ElementsOf(TensorType type, absl::Span<const uint8_t> stored) {
  return stored.size() / Traits(type).block_bytes * Traits(type).block_elements;
}

}  // namespace

std::vector<float> FloatsOf(TensorType type, absl::Span<const uint8_t> stored) {
  std::vector<float> values(ElementsOf(type, stored));
  if (!values.empty()) {
    kernels::DequantizeRow(type, stored.data(), values.size(), values.data());
  }
  return values;
}

kernels::RoundingLoss StoreFloats(TensorType type, absl::Span<const float> values,
                                  absl::Span<uint8_t> stored) {
  assert(stored.size() == RowBytes(type, values.size()));
  if (values.empty()) return {};
  return kernels::QuantizeRow(type, values.data(), values.size(), stored.data());
}

bool AllFinite(absl::Span<const float> values) {
  return std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); });
}

bool AllFinite(TensorType type, absl::Span<const uint8_t> stored) {
  constexpr size_t kBlocksAtOnce = 64;  // what is looked at stays in the cache
  const size_t bytes = kBlocksAtOnce * Traits(type).block_bytes;
  for (size_t i = 0; i < stored.size(); i += bytes) {
    if (!AllFinite(FloatsOf(type, stored.subspan(i, bytes)))) return false;
  }
  return true;
}

}  // namespace peerage
