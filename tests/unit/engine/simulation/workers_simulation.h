#pragma once

#include "tests/unit/engine/simulation/ledger.h"
#include "tests/unit/engine/simulation/simulation.h"
#include "tests/unit/engine/simulation/world.h"

namespace peerage {

// As Simulate, of a world with workers: drives the real router and replicas, whose workers fail,
// hang, are lost and get other models, while requests move from one to the other.
Outcome SimulateWorkers(const World& world, Coverage& coverage);

}  // namespace peerage
