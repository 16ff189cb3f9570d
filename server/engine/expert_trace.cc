#include "server/engine/expert_trace.h"

#include <algorithm>
#include <utility>

#include "model/experts/expert_usage.h"

namespace peerage {
namespace {

// Tallies of picks, in ascending order of experts.
std::vector<ExpertTally> TallyPicks(absl::Span<const uint32_t> ids,
                                    absl::Span<const float> weights) {
  std::vector<std::pair<uint32_t, float>> picks(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) picks[i] = {ids[i], weights[i]};
  std::sort(picks.begin(), picks.end(), [](auto& a, auto& b) { return a.first < b.first; });
  std::vector<ExpertTally> tallies;
  for (const auto& [id, weight] : picks) {
    if (id == kNoExpert) break;  // nor behind it
    if (tallies.empty() || tallies.back().expert != id) tallies.push_back({.expert = id});
    ++tallies.back().selections;
    tallies.back().score += ExpertScore(weight);
  }
  return tallies;
}

template <typename T>
void AppendTo(std::vector<T>& to, absl::Span<const T> from) {
  to.insert(to.end(), from.begin(), from.end());
}

}  // namespace

std::vector<ExpertTally> MergeTallies(absl::Span<const ExpertTally> a,
                                      absl::Span<const ExpertTally> b) {
  std::vector<ExpertTally> merged;
  merged.reserve(a.size() + b.size());
  size_t i = 0;
  size_t j = 0;
  while (i < a.size() || j < b.size()) {
    const bool from_a = j == b.size() || (i < a.size() && a[i].expert <= b[j].expert);
    const ExpertTally& next = from_a ? a[i++] : b[j++];
    if (merged.empty() || merged.back().expert != next.expert) {
      merged.push_back(next);
    } else {
      merged.back().selections += next.selections;
      merged.back().score += next.score;
    }
  }
  return merged;
}

void PickLog::Append(const ExpertPicks& picks) {
  AppendTo(ids_, picks.ids);
  AppendTo(weights_, picks.weights);
  if (keep_all_ || ids_.size() <= std::max(kMaxLoosePicks, tallies_.size())) return;
  tallies_ = Tallies();
  ids_.clear();
  weights_.clear();
}

std::vector<ExpertTally> PickLog::Tallies() const {
  return MergeTallies(tallies_, TallyPicks(ids_, weights_));
}

uint64_t TraceBytes(absl::Span<const ExpertLayer> layers) {
  uint64_t bytes = 0;
  for (const ExpertLayer& layer : layers) {
    const uint64_t tallies =
        std::min<uint64_t>(layer.num_experts, PickLog::kMaxLoosePicks) * sizeof(ExpertTally);
    const uint64_t log = PickLog::kMaxLoosePicks * (sizeof(uint32_t) + sizeof(float)) + tallies;
    bytes += 2 * log + tallies;
  }
  return bytes;
}

}  // namespace peerage
