#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "model/kernels/stored_block.h"
#include "model/tensor_type.h"

namespace peerage {

// Whole rows of stored tensors as floats and back: kernels/stored_block for vectors and spans.

// F32, BF16 and F16.
constexpr bool IsPlain(TensorType type) { return Traits(type).block_elements == 1; }

// Exact but for quantised values that f32 does not hold. Precondition: whole blocks.
std::vector<float> FloatsOf(TensorType type, absl::Span<const uint8_t> stored);

// Rounds to nearest, ties to even, and says what that lost (stored_block.h). Beyond its range BF16
// and F16 become infinite; a block of Q8_0 or Q4_1 that holds a NaN, an infinity or such a value
// becomes all NaN.
// Precondition: a plain type, Q8_0 or Q4_1; stored.size() is what the values need.
kernels::RoundingLoss StoreFloats(TensorType type, absl::Span<const float> values,
                                  absl::Span<uint8_t> stored);

// Whether there is no NaN and no infinity.
bool AllFinite(absl::Span<const float> values);
bool AllFinite(TensorType type, absl::Span<const uint8_t> stored);

}  // namespace peerage
