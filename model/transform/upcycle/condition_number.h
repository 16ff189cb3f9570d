#pragma once

#include "absl/types/span.h"

namespace peerage::transform {

// The condition number of a matrix with fewer rows than columns: its largest singular value over
// its smallest; infinite when rows depend on each other. `values`: [rows][columns].
// Precondition: rows > 0, and values.size() is a multiple of it.
double ConditionNumber(absl::Span<const float> values, int rows);

}  // namespace peerage::transform
