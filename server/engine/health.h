#pragma once

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/engine/engine_status.h"

namespace peerage {

// So many step timeouts a worker's next model may take to load.
inline constexpr int kLoadTimeouts = 10;

// UNAVAILABLE, with the reason, when a process is to be started anew, because something in it hangs
// and cannot be ended: a step, for `step_timeout`, or the load of a model, for kLoadTimeouts of it,
// behind which the next ones on its device wait. Being busy, draining or without a model is none.
absl::Status CheckHealth(const EngineStatus& status, absl::Duration step_timeout, absl::Time now);

}  // namespace peerage
