#pragma once

#include <algorithm>
#include <cstdint>

#include "model/expert_usage.h"

namespace peerage {

// A pick's weight in the fixed point of ExpertCount::score, to the nearest unit, halves up.
inline uint64_t ExpertScore(float weight) {
  if (!(weight > 0)) return 0;  // NaN, too
  const double cut = std::min(weight, ExpertCount::kMaxWeight);
  return static_cast<uint64_t>(cut / ExpertCount::kUnit + 0.5);
}

}  // namespace peerage
