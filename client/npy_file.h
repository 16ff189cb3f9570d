#pragma once

#include <string>

#include "client/expert_usage.h"

namespace peerage {

// A NumPy file (format 1.0): float64 [2, num_experts], selections and score sums. Counts beyond
// 2^53 are rounded.
std::string ToNpy(const ExpertUsage& usage);

}  // namespace peerage
