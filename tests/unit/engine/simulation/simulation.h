#pragma once

#include <cstdint>
#include <string>

#include "tests/unit/engine/simulation/ledger.h"
#include "tests/unit/engine/simulation/world.h"

namespace peerage {

struct Outcome {
  std::string failure;  // empty when everything held
  uint64_t log = 0;     // the hash of all that happened, in order
};

// Drives a world through the real inbox, scheduler, worker and deliveries, turn by turn, and looks
// after every step whether what everybody relies on still holds. Stops at the first thing that does
// not. Depends on the world alone. Adds to `coverage`.
Outcome Simulate(const World& world, Coverage& coverage);

}  // namespace peerage
