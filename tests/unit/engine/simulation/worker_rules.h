#pragma once

#include <cstdint>

#include "absl/types/span.h"
#include "server/engine/worker.h"
#include "tests/unit/engine/simulation/client.h"
#include "tests/unit/engine/simulation/hash_model.h"
#include "tests/unit/engine/simulation/ledger.h"
#include "tests/unit/engine/simulation/verdict.h"
#include "tests/unit/engine/simulation/world.h"

namespace peerage {

// What holds of any worker with a model, whatever its line is like.

SchedulerOptions SchedulerOptionsOf(const World& world);

// Between admission and the step: marks who runs, and whose salts the model is to know.
void MarkRunning(const Scheduler& scheduler, HashModel& model, absl::Span<Client> clients);

// Whoever is thrown out is computed anew; who is so again and again never ends. How often more the
// client was.
uint32_t CountPreemptions(Client& client, const World& world, Ledger& ledger, Verdict& verdict);

// A turn without a step: there was nothing to compute.
void CheckNothingToDo(const Scheduler& scheduler, Verdict& verdict);

// What the worker tells whoever asks is how things stand.
void CheckStatus(const Worker& worker, const HashModel& model, Verdict& verdict);

}  // namespace peerage
