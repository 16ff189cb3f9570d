#include "server/engine/distinct_experts.h"

#include <algorithm>
#include <bit>

namespace peerage {

ExpertSample::ExpertSample(absl::Span<const ExpertLayer> layers) {
  uint64_t experts = 0;
  for (const ExpertLayer& layer : layers) {
    layers_.push_back({static_cast<uint32_t>(experts), layer.picks_per_token()});
    experts += layer.num_experts;
  }
  const uint64_t numbers = std::clamp(std::bit_ceil(experts), uint64_t{1}, uint64_t{1} << 32);
  mask_ = static_cast<uint32_t>(numbers - 1);
  size_ = static_cast<uint32_t>(std::min<uint64_t>(numbers, kMost));
}

void DistinctExperts::Add(const ExpertSample& sample, const ChunkResult& chunk) {
  seen_.resize(sample.size());
  for (size_t layer = 0; layer < chunk.picks.size(); ++layer) {
    const ExpertPicks picks =
        chunk.PicksOf(layer, sample.picks_per_token(layer), 0, chunk.num_tokens);
    for (const uint32_t id : picks.ids) {
      if (id == kNoExpert) continue;
      const uint32_t index = sample.IndexOf(layer, id);
      if (index >= sample.size() || seen_[index]) continue;
      seen_[index] = true;
      ++picked_;
    }
  }
}

}  // namespace peerage
