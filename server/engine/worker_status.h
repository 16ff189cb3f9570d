#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/choice.h"
#include "server/engine/lack.h"

namespace peerage {

// Best first. kRebuilding: its model failed or hangs, and another one is to take its place. kLost:
// no other one can, its device is lost.
enum class WorkerState { kReady, kRebuilding, kLost };

inline constexpr Choice<WorkerState> kWorkerStates[] = {{"ready", WorkerState::kReady},
                                                        {"rebuilding", WorkerState::kRebuilding},
                                                        {"lost", WorkerState::kLost}};

// How a worker stands at this moment.
struct WorkerStatus {
  WorkerState state = WorkerState::kReady;
  std::string device;  // its model's, as the next
  std::string kernel_target;
  uint32_t restarts = 0;  // how often another model took the place of one that failed
  int32_t requests_waiting = 0;
  int64_t waiting_prompt_tokens = 0;
  int32_t requests_running = 0;
  int32_t requests_parked = 0;
  Lack front_lacks = Lack::kNothing;  // the first that waits
  int32_t kv_blocks_total = 0;
  int32_t kv_blocks_free = 0;         // and promised to nobody
  int64_t share_gap = 0;              // largest difference of tokens served, of tenants who wait
  int32_t kv_blocks_cached = 0;       // free, and in the prefix cache
  int64_t prefix_queried_tokens = 0;  // of prompts and contexts, looked for in the prefix cache
  int64_t prefix_hit_tokens = 0;      // and found
  int64_t preemptions = 0;
  uint64_t steps = 0;
  // The next model, since then: to end the worker is to wait for that. InfiniteFuture: it does not.
  absl::Time loads_since = absl::InfiniteFuture();
  bool hangs = false;  // a step that was ended has not come back; the worker may have another model
  absl::Status lost;   // why the worker will never step again; OK while it may
  // Its end, at first the worker's start; idle ones take one a second. Of a step that hangs, though
  // another model has taken its model's place, the end of the turn before it.
  absl::Time last_turn;

  // Adds what another one has counted since the start.
  WorkerStatus& operator+=(const WorkerStatus& other) {
    steps += other.steps;
    prefix_queried_tokens += other.prefix_queried_tokens;
    prefix_hit_tokens += other.prefix_hit_tokens;
    preemptions += other.preemptions;
    return *this;
  }
};

}  // namespace peerage
