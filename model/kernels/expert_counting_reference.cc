#include "model/experts/expert_usage.h"
#include "model/kernels/expert_counting.h"

namespace peerage::kernels {

void CountExpertsReference(const CountArgs& args, uint32_t first_id, uint32_t end_id,
                           ExpertCount* counts) {
  for (int64_t i = 0; i < args.picks; ++i) {
    const uint32_t id = args.ids[i];
    if (id < first_id || id >= end_id) continue;
    ++counts[id].selections;
    counts[id].score += ExpertScore(args.weights[i]);
  }
}

}  // namespace peerage::kernels
