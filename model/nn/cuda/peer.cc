#include "model/nn/cuda/peer.h"

#include <string>
#include <vector>

namespace peerage::nn::cuda {

void RetrievedExperts::Forward(StepContext& step, const Activations& input) const {
  const kernels::cuda::ProductKeyShape& shape = router.shape;
  const PickBuffer picks = step.counters.picks(router.expert_layer);
  router.Forward(step, input);
  float* sums = step.HeadSums();
  step.Launch(kernels::cuda::RunExperts, {.table = table,
                                          .activation = activation,
                                          .heads = shape.heads,
                                          .top_k = shape.top_k,
                                          .x = input.x,
                                          .x_type = input.type,
                                          .x_stride = input.stride,
                                          .ids = picks.ids,
                                          .weights = picks.weights,
                                          .partials = sums,
                                          .count = step.tokens()});
  const auto width = static_cast<size_t>(table.width);
  step.residual.Add(step, kernels::cuda::RowParts{.parts = sums,
                                                  .part_stride = width,
                                                  .row_stride = shape.heads * width,
                                                  .count = shape.heads});
  router.Count(step, table.RecordBytes());
}

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

void Peer::Forward(StepContext& step, const Activations& u) const {
  experts.Forward(step, norm.has_value() ? norm->Of(step, u, step.workspace.expert_input) : u);
}

ProductKeyMemory ProductKeyMemory::Place(const ProductKeyMemoryPlan& plan, WeightPlacer& placer) {
  ProductKeyMemory memory;
  memory.values.router = ProductKeyRouter::Place(plan.router, placer);
  memory.values.table = placer.Experts(kernels::ExpertKind::kValue, {plan.values.name});
  return memory;
}

}  // namespace peerage::nn::cuda
