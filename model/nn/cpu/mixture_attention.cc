#include "model/nn/cpu/mixture_attention.h"

#include <algorithm>

namespace peerage::nn::cpu {

MixtureAttention MixtureAttention::Place(const MixtureAttentionPlan& plan, WeightPlacer& placer) {
  MixtureAttention mixture;
  mixture.router_ = MixtureRouter::Place(plan.router, {}, placer);
  mixture.wide_ = Attention::Place(plan.wide, placer);
  mixture.expert_of_head_ = plan.expert_of_head;
  return mixture;
}

void MixtureAttention::Forward(const StepContext& step, const Activations& u,
                               const KvLayer& kv) const {
  float* logits = step.workspace.mixture.logits;
  router_.Project(step, u, logits);
  router_.Choose(step, logits);
  SpreadGates(step);
  wide_.Forward(step, u, kv, step.workspace.mixture.head_gates);
}

void MixtureAttention::SpreadGates(const StepContext& step) const {
  const MixtureBuffers& buffers = step.workspace.mixture;
  const PickBuffer picks = router_.picks(step);
  const size_t experts = router_.num_experts, heads = expert_of_head_.size();
  const size_t top_k = router_.top_k;
  step.ForTokens([&](RowRange rows) {
    for (size_t token = rows.first; token < static_cast<size_t>(rows.end); ++token) {
      float* gates = buffers.logits + token * experts;  // the logits have served
      std::fill_n(gates, experts, 0.0f);
      for (size_t pick = token * top_k; pick < (token + 1) * top_k; ++pick) {
        if (picks.ids[pick] == kNoExpert) break;
        gates[picks.ids[pick]] = picks.weights[pick];
      }
      for (size_t h = 0; h < heads; ++h) {
        buffers.head_gates[token * heads + h] = gates[expert_of_head_[h]];
      }
    }
  });
}

}  // namespace peerage::nn::cpu
