#include "model/nn/cuda/mixture_attention.h"

#include <vector>

#include "model/kernels/mixture_cuda.h"

namespace peerage::nn::cuda {

MixtureAttention MixtureAttention::Place(const MixtureAttentionPlan& plan, WeightPlacer& placer) {
  MixtureAttention mixture;
  mixture.router_ = MixtureRouter::Place(plan.router, {}, placer);
  mixture.wide_ = Attention::Place(plan.wide, placer);
  mixture.heads_ = static_cast<int>(plan.expert_of_head.size());
  mixture.expert_of_head_ = placer.Constants(
      std::vector<int32_t>(plan.expert_of_head.begin(), plan.expert_of_head.end()));
  return mixture;
}

void MixtureAttention::Forward(StepContext& step, const Activations& u,
                               const kernels::cuda::KvView& kv) const {
  const MixtureBuffers& buffers = step.workspace.mixture;
  router_.Project(step, u, buffers.logits);
  router_.Choose(step, buffers.logits);
  const PickBuffer picks = router_.picks(step);
  step.Launch(kernels::cuda::SpreadGates, {.ids = picks.ids,
                                           .weights = picks.weights,
                                           .top_k = router_.top_k,
                                           .expert_of_head = expert_of_head_,
                                           .heads = heads_,
                                           .head_gates = buffers.head_gates,
                                           .count = step.tokens()});
  wide_.Forward(step, u, kv, buffers.head_gates);
}

void MixtureAttention::RaiseNeeds(LayerNeeds& needs) const {
  cuda::RaiseNeeds(router_.projection, needs.tokens, needs);
  wide_.RaiseNeeds(needs);
}

}  // namespace peerage::nn::cuda
