#pragma once

#include <limits>

namespace peerage {

inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

}  // namespace peerage
