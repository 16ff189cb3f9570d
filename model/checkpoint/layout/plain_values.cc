#include "model/checkpoint/layout/plain_values.h"

#include <cassert>
#include <cstring>

#include "base/little_endian.h"
#include "model/kernels/float16.h"

namespace peerage {
namespace {

// Whether the exponent is all ones in none of the elements.
template <typename Bits>
bool NoneHas(Bits exponent, absl::Span<const uint8_t> stored) {
  bool found = false;
  for (size_t i = 0; i < stored.size(); i += sizeof(Bits)) {
    found |= (LoadLittleEndian<Bits>(stored.data() + i) & exponent) == exponent;
  }
  return !found;
}

}  // namespace

std::vector<float> FloatsOf(TensorType type, absl::Span<const uint8_t> stored) {
  assert(IsPlain(type));
  std::vector<float> values(stored.size() / Traits(type).block_bytes);
  if (type == TensorType::kF32) {
    if (!values.empty()) std::memcpy(values.data(), stored.data(), stored.size());
    return values;
  }
  for (size_t i = 0; i < values.size(); ++i) {
    const auto bits = LoadLittleEndian<uint16_t>(stored.data() + 2 * i);
    values[i] = type == TensorType::kBF16 ? kernels::F32FromBF16(bits) : kernels::F32FromF16(bits);
  }
  return values;
}

void StoreFloats(TensorType type, absl::Span<const float> values, absl::Span<uint8_t> stored) {
  assert(IsPlain(type) && stored.size() == RowBytes(type, values.size()));
  if (type == TensorType::kF32) {
    if (!values.empty()) std::memcpy(stored.data(), values.data(), stored.size());
    return;
  }
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t bits = type == TensorType::kBF16 ? kernels::BF16FromF32(values[i])
                                                    : kernels::F16FromF32(values[i]);
    std::memcpy(stored.data() + 2 * i, &bits, sizeof(bits));
  }
}

bool AllFinite(TensorType type, absl::Span<const uint8_t> stored) {
  switch (type) {
    case TensorType::kF32:
      return NoneHas<uint32_t>(0x7f800000, stored);
    case TensorType::kBF16:
      return NoneHas<uint16_t>(0x7f80, stored);
    case TensorType::kF16:
      return NoneHas<uint16_t>(0x7c00, stored);
    default:
      assert(false);
      return false;
  }
}

}  // namespace peerage
