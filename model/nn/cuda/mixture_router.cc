#include "model/nn/cuda/mixture_router.h"

#include <utility>

#include "model/kernels/expert_counting_cuda.h"
#include "model/kernels/mixture_cuda.h"

namespace peerage::nn::cuda {

MixtureRouter MixtureRouter::Place(const MixtureRouterPlan& plan, std::vector<std::string> more,
                                   WeightPlacer& placer) {
  more.insert(more.begin(), plan.weight.name);
  return {.projection = placer.Router(more),
          .num_experts = plan.num_experts(),
          .top_k = plan.top_k,
          .normalize = plan.normalize,
          .expert_layer = plan.expert_layer};
}

void MixtureRouter::Project(StepContext& step, const Activations& u, float* logits) const {
  Forward(projection, step, u, step.tokens(), {.y = logits, .stride = logits_stride()});
}

void MixtureRouter::Choose(StepContext& step, float* logits) const {
  const PickBuffer picked = picks(step);
  step.Launch(kernels::cuda::ChooseExperts, {.logits = logits,
                                             .stride = logits_stride(),
                                             .experts = num_experts,
                                             .top_k = top_k,
                                             .normalize = normalize,
                                             .positions = step.arrays.positions,
                                             .controls = step.ControlsOf(expert_layer),
                                             .ids = picked.ids,
                                             .weights = picked.weights,
                                             .count = step.tokens()});
  if (!step.counters.is_counting()) return;
  step.Launch(kernels::cuda::ObserveGates, {.gates = logits,
                                            .stride = logits_stride(),
                                            .experts = num_experts,
                                            .ids = picked.ids,
                                            .top_k = top_k,
                                            .positions = step.arrays.positions,
                                            .count = step.tokens(),
                                            .totals = step.counters.totals(expert_layer)});
  step.Count(expert_layer, 0);
}

}  // namespace peerage::nn::cuda
