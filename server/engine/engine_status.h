#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace peerage {

// How an engine stands at this moment: whoever was told of a request's end sees it without it.
struct EngineStatus {
  int32_t requests_waiting = 0;
  // Of those that wait, by what the first of them lacks.
  int32_t waiting_for_slots = 0;
  int32_t waiting_for_blocks = 0;
  int32_t waiting_for_fairness = 0;  // it could start, but one that it has passed is to be next
  int64_t share_gap = 0;             // largest difference of tokens served, of tenants who wait
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
  absl::Time last_turn;   // of the worker's loop: its end, at first the start
  bool draining = false;  // or lost: nothing is let in
  // UNAVAILABLE, with the reason, once the model's device is lost; OK before. Nothing runs any more
  // then, and the process is to be started anew.
  absl::Status lost;
};

}  // namespace peerage
