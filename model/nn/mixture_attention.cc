#include "model/nn/mixture_attention.h"

#include <algorithm>

namespace peerage::nn {

void MixtureAttention::Forward(kernels::ThreadPool& pool, Workspace& workspace,
                               const Attention::Step& step, const PickBuffer& picks) const {
  MixtureBuffers& buffers = workspace.mixture;
  const size_t experts = router.num_experts();
  const size_t heads = expert_of_head.size();
  router.Forward(pool, step.input, buffers.logits, picks);
  // The logits have served; their place takes the gates, zero for experts that were not picked.
  pool.For(step.input.tokens, kRowGrain, [&](int64_t first, int64_t end, int) {
    for (int64_t token = first; token < end; ++token) {
      float* gates = buffers.logits + token * experts;
      std::fill_n(gates, experts, 0.0f);
      for (int64_t pick = token * router.top_k; pick < (token + 1) * router.top_k; ++pick) {
        gates[picks.ids[pick]] = picks.weights[pick];
      }
      for (size_t h = 0; h < heads; ++h) {
        buffers.head_gates[token * heads + h] = gates[expert_of_head[h]];
      }
    }
  });
  Attention::Step gated = step;
  gated.head_gates = buffers.head_gates;
  wide.Forward(pool, workspace, gated);
}

}  // namespace peerage::nn
