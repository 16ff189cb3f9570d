#include "model/nn/mixture_router.h"

#include <algorithm>
#include <cmath>

namespace peerage::nn {

void MixtureRouter::Forward(kernels::ThreadPool& pool, const Activations& input, float* logits,
                            const PickBuffer& picks) const {
  const size_t experts = num_experts();
  projection.Forward(pool, input, {.y = logits, .stride = experts});
  for (int token = 0; token < input.tokens; ++token) {
    Pick(logits + token * experts,
         {picks.ids + size_t(token) * top_k, picks.weights + size_t(token) * top_k});
  }
}

void MixtureRouter::Pick(float* logits, const PickBuffer& picks) const {
  const int experts = num_experts();
  float most = logits[0];
  for (int i = 1; i < experts; ++i) most = std::max(most, logits[i]);
  float sum = 0;
  for (int i = 0; i < experts; ++i) sum += logits[i] = std::exp(logits[i] - most);
  for (int i = 0; i < experts; ++i) logits[i] /= sum;

  float kept = 0;
  for (int k = 0; k < top_k; ++k) {
    int best = -1;
    for (int i = 0; i < experts; ++i) {
      const bool taken = std::find(picks.ids, picks.ids + k, uint32_t(i)) != picks.ids + k;
      if (!taken && (best < 0 || logits[i] > logits[best])) best = i;
    }
    picks.ids[k] = static_cast<uint32_t>(best);
    picks.weights[k] = logits[best];
    kept += logits[best];
  }
  if (!normalize) return;
  for (int k = 0; k < top_k; ++k) picks.weights[k] /= kept;
}

}  // namespace peerage::nn
