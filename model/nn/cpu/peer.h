#pragma once

#include <optional>

#include "model/nn/cpu/norm.h"
#include "model/nn/cpu/retrieved_experts.h"

namespace peerage::nn::cpu {

// Parameter-efficient expert retrieval (He 2024, Algorithm 1): experts of one neuron each, of which
// every head picks its top k by product keys:
//
//   x += sum over heads and picks of  weight * act(down . u) * up
//
// With a gate vector per expert: weight * act(gate . u) * (down . u) * up. An optional norm of u
// comes before query and experts (peer-pytorch's pre_rmsnorm).
struct Peer {
  std::optional<Norm> norm;
  RetrievedExperts experts;

  static Peer Place(const PeerPlan& plan, WeightPlacer& placer);

  // Routing goes token by token with the experts, without a barrier in between.
  void Route(const StepContext& step, const Activations& u) const {}
  void Forward(const StepContext& step, const Activations& u) const;

  void AppendRouters(std::vector<LinearLayer*>& order) {}
  void AppendWeights(std::vector<LinearLayer*>& order) { order.push_back(&experts.router.query); }
  size_t ScratchBytes() const { return experts.ScratchBytes(); }
};

// Product-key memory (Lample et al. 2019): x += sum over heads and picks of  weight * value.
// The values do not look at u; only the query does.
struct ProductKeyMemory {
  RetrievedExperts values;

  static ProductKeyMemory Place(const ProductKeyMemoryPlan& plan, WeightPlacer& placer);

  void Route(const StepContext& step, const Activations& u) const {}
  void Forward(const StepContext& step, const Activations& u) const { values.Forward(step, u); }

  void AppendRouters(std::vector<LinearLayer*>& order) {}
  void AppendWeights(std::vector<LinearLayer*>& order) { order.push_back(&values.router.query); }
  size_t ScratchBytes() const { return values.ScratchBytes(); }
};

}  // namespace peerage::nn::cpu
