#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/engine/worker_status.h"

namespace peerage {

// How an engine stands, over all its workers, at this moment: whoever was told of a request's end
// sees it without it.
struct EngineStatus {
  int32_t requests_waiting = 0;
  // Of those that wait, by what the first of them lacks.
  int32_t waiting_for_slots = 0;
  int32_t waiting_for_blocks = 0;
  int32_t waiting_for_fairness = 0;  // it could start, but one that it has passed is to be next
  int64_t share_gap = 0;  // of one worker: largest difference of tokens served, of tenants who wait
  int64_t waiting_prompt_tokens = 0;
  int32_t requests_running = 0;
  int32_t requests_parked = 0;  // of those that run: their readers are behind
  int32_t kv_blocks_total = 0;
  int32_t kv_blocks_free = 0;
  int32_t kv_blocks_cached = 0;  // of the free ones, in the prefix cache
  int64_t prefix_queried_tokens = 0;
  int64_t prefix_hit_tokens = 0;
  int64_t preemptions = 0;
  uint64_t steps = 0;
  absl::Time last_turn;   // of the worker whose last turn ended first, at first the start
  bool draining = false;  // or lost: nothing is let in
  // UNAVAILABLE, with the reason, once every worker is lost; OK before. Nothing runs any more then,
  // and the process is to be started anew.
  absl::Status lost;
  bool hangs = false;  // some worker does: the process cannot end as others do
  absl::Time loads_since = absl::InfiniteFuture();  // of the worker that does for longest
  std::vector<WorkerStatus> workers;

  // Some worker does: to stop the engine is to wait for that.
  bool loads() const { return loads_since < absl::InfiniteFuture(); }

  // Requests are let in, and some worker has a model.
  bool ready() const {
    return !draining && std::any_of(workers.begin(), workers.end(), [](const WorkerStatus& worker) {
      return worker.state == WorkerState::kReady;
    });
  }
};

}  // namespace peerage
