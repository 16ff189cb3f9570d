#pragma once

#include <cstdint>

#include "model/experts/expert_usage.h"

namespace peerage::kernels {

// Counts picks into counts[id] for the ids in [first_id, end_id). Threads take disjoint
// ranges of ids and the same picks, so there are no atomics and no copies of the counters.
struct CountArgs {
  const uint32_t* ids = nullptr;   // [picks]
  const float* weights = nullptr;  // [picks]
  int64_t picks = 0;
  ExpertCount* counts = nullptr;  // [all experts]: counts[id]
};
void CountExperts(const CountArgs& args, uint32_t first_id, uint32_t end_id);
void CountExpertsReference(const CountArgs& args, uint32_t first_id, uint32_t end_id);

}  // namespace peerage::kernels
