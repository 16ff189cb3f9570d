#pragma once

#include <cstdint>

#include "absl/types/span.h"

namespace peerage {

// A tensor that is stored as [outer, stored_first, stored_second, rest] and wanted as [outer,
// stored_second, stored_first, rest].
struct AxisSwap {
  int64_t outer = 1;
  int64_t stored_first = 1;
  int64_t stored_second = 1;
};

// Writes the wanted order to `restored`. What lies behind the swapped axes moves as it is stored: a
// quantised block never crosses rows. Preconditions: both spans have one length, a multiple of the
// product of the axes, and do not overlap.
void SwapAxes(const AxisSwap& axes, absl::Span<const uint8_t> stored, absl::Span<uint8_t> restored);

}  // namespace peerage
