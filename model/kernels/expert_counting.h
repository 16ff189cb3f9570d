#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>

#include "model/experts/expert_usage.h"

namespace peerage::kernels {

// How often an expert was picked since its counter was last emptied, and the sum of the weights in
// units of ExpertCount::kUnit. Half the size of an ExpertCount, because a pick touches one that is
// most likely far away. The unit leaves it a sum of 256: experts whose weights are 1/16 are picked
// 4096 times before their counter is full. The step that picked the expert last lies in the same
// line, so that the different experts of a step are counted without looking elsewhere.
struct ExpertCounter {
  static constexpr uint32_t kMostSelections = (1u << 20) - 1;
  static constexpr uint32_t kLastStep = (1u << 12) - 1;

  uint32_t selections : 20 = 0;
  uint32_t step : 12 = 0;  // 1..kLastStep; 0: none since ForgetSteps
  uint32_t score = 0;
};

// What counters could not hold, by expert: one entry at most for each.
using SpilledCounts = std::unordered_map<uint32_t, ExpertCount>;

struct CountArgs {
  const uint32_t* ids = nullptr;   // [picks]
  const float* weights = nullptr;  // [picks]
  int64_t picks = 0;
  ExpertCounter* counters = nullptr;  // [all experts]: counters[id]
  uint32_t step = 1;  // 1..ExpertCounter::kLastStep, another one than those before it
};

// Counts the picks whose ids are in [first_id, end_id), and returns how many of these experts no
// call with this step has counted before. Exact for every number of picks and for every weight: a
// counter of which a field would wrap is emptied into `spilled`, this pick included.
//
// Threads take disjoint ranges of ids and the same picks, so there are no atomics and no copies of
// the counters. Each has its own `spilled`.
int64_t CountExperts(const CountArgs& args, uint32_t first_id, uint32_t end_id,
                     SpilledCounts& spilled);

// The specification: what counters and spilled counts hold together, added to counts[id]. Returns
// the different ids of these picks.
int64_t CountExpertsReference(const CountArgs& args, uint32_t first_id, uint32_t end_id,
                              ExpertCount* counts);

// Step numbers may begin at 1 again.
inline void ForgetSteps(ExpertCounter* counters, size_t experts) {
  for (size_t i = 0; i < experts; ++i) counters[i].step = 0;
}

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
