#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "model/tensor_type.h"

namespace peerage {

// Values of the plain types: F32, BF16 and F16.
constexpr bool IsPlain(TensorType type) { return Traits(type).block_elements == 1; }

// Exact. Preconditions of all of these: a plain type, and whole elements.
std::vector<float> FloatsOf(TensorType type, absl::Span<const uint8_t> stored);

// Rounds to nearest, ties to even; F16 beyond its range becomes infinite.
// Precondition: stored.size() is what the values need.
void StoreFloats(TensorType type, absl::Span<const float> values, absl::Span<uint8_t> stored);

// Whether there is no NaN and no infinity.
bool AllFinite(TensorType type, absl::Span<const uint8_t> stored);

}  // namespace peerage
