#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>

#include "model/experts/expert_usage.h"

namespace peerage::kernels {

// How often an expert was picked since its counter was last emptied, and the sum of the weights in
// units of ExpertCount::kUnit. Half the size of an ExpertCount, because a pick touches one that is
// most likely far away. The unit leaves it a sum of 256: experts whose weights are 1/16 are picked
// 4096 times before their counter is full.
struct ExpertCounter {
  uint32_t selections = 0;
  uint32_t score = 0;
};

// What counters could not hold, by expert: one entry at most for each.
using SpilledCounts = std::unordered_map<uint32_t, ExpertCount>;

struct CountArgs {
  const uint32_t* ids = nullptr;   // [picks]
  const float* weights = nullptr;  // [picks]
  int64_t picks = 0;
  ExpertCounter* counters = nullptr;  // [all experts]: counters[id]
};

// Counts the picks whose ids are in [first_id, end_id). Exact for every number of picks and for
// every weight: a counter of which a field would wrap is emptied into `spilled`, this pick
// included.
//
// Threads take disjoint ranges of ids and the same picks, so there are no atomics and no copies of
// the counters. Each has its own `spilled`.
void CountExperts(const CountArgs& args, uint32_t first_id, uint32_t end_id,
                  SpilledCounts& spilled);

// The specification: what counters and spilled counts hold together, added to counts[id].
void CountExpertsReference(const CountArgs& args, uint32_t first_id, uint32_t end_id,
                           ExpertCount* counts);

// counts[id] = the counter's, for `experts` ids from 0 on; AddSpilled makes them whole.
inline void ReadCounters(const ExpertCounter* counters, size_t experts, ExpertCount* counts) {
  for (size_t i = 0; i < experts; ++i) counts[i] = {counters[i].selections, counters[i].score};
}
inline void AddSpilled(const SpilledCounts& spilled, ExpertCount* counts) {
  for (const auto& [id, count] : spilled) {
    counts[id].selections += count.selections;
    counts[id].score += count.score;
  }
}

}  // namespace peerage::kernels
