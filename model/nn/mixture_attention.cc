#include "model/nn/mixture_attention.h"

namespace peerage::nn {

void MixtureAttention::Forward(kernels::ThreadPool& pool, Workspace& workspace,
                               const Attention::Step& step, const PickBuffer& picks) const {
  MixtureBuffers& buffers = workspace.mixture;
  const size_t experts = router.num_experts();
  const size_t heads = expert_of_head.size();
  router.Forward(pool, step.input, buffers.logits, picks);
  // The logits have served; their place takes the gates, zero for experts that were not picked.
  for (int token = 0; token < step.input.tokens; ++token) {
    float* gates = buffers.logits + token * experts;
    for (size_t e = 0; e < experts; ++e) gates[e] = 0;
    for (int k = 0; k < router.top_k; ++k) {
      const size_t pick = size_t(token) * router.top_k + k;
      gates[picks.ids[pick]] = picks.weights[pick];
    }
    for (size_t h = 0; h < heads; ++h) {
      buffers.head_gates[token * heads + h] = gates[expert_of_head[h]];
    }
  }
  Attention::Step gated = step;
  gated.head_gates = buffers.head_gates;
  wide.Forward(pool, workspace, gated);
}

}  // namespace peerage::nn
