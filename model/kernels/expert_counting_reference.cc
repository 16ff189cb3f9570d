#include <unordered_set>

#include "model/experts/expert_usage.h"
#include "model/kernels/expert_counting.h"

namespace peerage::kernels {

int64_t CountExpertsReference(const CountArgs& args, uint32_t first_id, uint32_t end_id,
                              ExpertCount* counts) {
  std::unordered_set<uint32_t> different;
  for (int64_t i = 0; i < args.picks; ++i) {
    const uint32_t id = args.ids[i];
    if (id < first_id || id >= end_id) continue;
    different.insert(id);
    ++counts[id].selections;
    counts[id].score += ExpertScore(args.weights[i]);
  }
  return static_cast<int64_t>(different.size());
}

}  // namespace peerage::kernels
