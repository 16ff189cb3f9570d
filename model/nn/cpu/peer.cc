#include "model/nn/cpu/peer.h"

namespace peerage::nn::cpu {

Peer Peer::Place(const PeerPlan& plan, WeightPlacer& placer) {
  Peer peer;
  if (plan.norm.has_value()) peer.norm = Norm::Place(*plan.norm, placer);
  peer.experts.router = ProductKeyRouter::Place(plan.router, placer);
  peer.experts.activation = plan.config.activation;
  std::vector<std::string> vectors = {plan.down.name, plan.up.name};
  if (plan.gate.has_value()) vectors.insert(vectors.begin(), plan.gate->name);
  peer.experts.table = placer.Experts(
      plan.gate.has_value() ? kernels::ExpertKind::kGatedNeuron : kernels::ExpertKind::kNeuron,
      vectors);
  return peer;
}

void Peer::Forward(const StepContext& step, const Activations& u) const {
  Activations input = u;
  if (norm.has_value()) {
    input.x = step.workspace.expert_input;
    step.ForTokens([&](RowRange rows) { norm->Forward(u.x, step.workspace.expert_input, rows); });
  }
  experts.Forward(step, input);
}

ProductKeyMemory ProductKeyMemory::Place(const ProductKeyMemoryPlan& plan, WeightPlacer& placer) {
  ProductKeyMemory memory;
  memory.values.router = ProductKeyRouter::Place(plan.router, placer);
  memory.values.table = placer.Experts(kernels::ExpertKind::kValue, {plan.values.name});
  return memory;
}

}  // namespace peerage::nn::cpu
