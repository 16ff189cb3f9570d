#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "model/experts/expert_usage.h"
#include "server/engine/step_builder.h"

namespace peerage {

// Which experts of a model, over all its layers, stand for all of them when those that a request
// picks are counted: every one of up to kMost, of more a fixed part that is spread evenly.
class ExpertSample {
 public:
  static constexpr uint32_t kMost = 1 << 16;

  ExpertSample() = default;  // of no experts
  explicit ExpertSample(absl::Span<const ExpertLayer> layers);

  bool empty() const { return layers_.empty(); }
  size_t picks_per_token(size_t expert_layer) const { return layers_[expert_layer].picks; }
  // The index of an expert in the sample, or `size()` and more for those that are not in it.
  uint32_t IndexOf(size_t expert_layer, uint32_t id) const {
    return (layers_[expert_layer].first + id) * kSpread & mask_;
  }
  uint32_t size() const { return size_; }
  uint64_t experts_each() const { return (uint64_t{mask_} + 1) / size_; }  // that one stands for

 private:
  static constexpr uint32_t kSpread = 0x9E3779B1;  // odd: a permutation of any power of two

  struct Layer {
    uint32_t first;  // number of its expert 0
    uint32_t picks;  // per token
  };
  std::vector<Layer> layers_;
  uint32_t mask_ = 0;  // a power of two - 1, at least the largest number
  uint32_t size_ = 1;
};

// The different experts that a request picked. Exact for models of up to ExpertSample::kMost
// experts; of larger ones with a deviation of some sqrt(experts_each / count).
//
// Threads: none.
class DistinctExperts {
 public:
  // Precondition: always the same sample; the chunk's picks are there.
  void Add(const ExpertSample& sample, const ChunkResult& chunk);

  uint64_t Count(const ExpertSample& sample) const { return picked_ * sample.experts_each(); }

 private:
  std::vector<bool> seen_;  // [sample]; empty before the first chunk
  uint64_t picked_ = 0;
};

}  // namespace peerage
