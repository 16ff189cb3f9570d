#include <algorithm>
#include <cmath>

#include "model/kernels/expert_counting.h"

namespace peerage::kernels {

void CountExpertsReference(const CountArgs& args, uint32_t first_id, uint32_t end_id) {
  for (int64_t i = 0; i < args.picks; ++i) {
    const uint32_t id = args.ids[i];
    if (id < first_id || id >= end_id) continue;
    const float weight = args.weights[i];
    const double counted =
        std::isnan(weight) ? 0 : std::clamp(weight, 0.0f, ExpertCount::kMaxWeight);
    ++args.counts[id].selections;
    args.counts[id].score += static_cast<uint64_t>(std::llround(counted / ExpertCount::kUnit));
  }
}

}  // namespace peerage::kernels
