#pragma once

#include <functional>
#include <string>

#include "tests/unit/engine/simulation/world.h"

namespace peerage {

// The failure that a world ends with; empty when it does not.
using Trial = std::function<std::string(const World&)>;

// The smallest world found that still fails, from one that does: arrivals go first, then
// disturbances, then requests become shorter and plainer, until nothing more can go.
World Shrink(World world, const Trial& fails);

}  // namespace peerage
