#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "server/engine/admission.h"
#include "server/engine/delivery.h"
#include "server/engine/task.h"
#include "tests/unit/engine/simulation/client.h"
#include "tests/unit/engine/simulation/world.h"

namespace peerage {

// What the engine's door does in a simulation, where nobody else is at it.

// Of each worker.
EngineCapacity CapacityOf(const World& world);

// The client's request as a task, which the client knows from then on. OUT_OF_RANGE when it can
// never fit.
absl::StatusOr<std::unique_ptr<Task>> TaskOf(Client& client, const EngineCapacity& capacity,
                                             const ModelFacts& facts);

}  // namespace peerage
