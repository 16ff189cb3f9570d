#include "model/nn/mixture_router.h"

#include <algorithm>
#include <cmath>

namespace peerage::nn {

void MixtureRouter::Forward(kernels::ThreadPool& pool, const Activations& input, float* logits,
                            const PickBuffer& picks) const {
  const size_t experts = num_experts();
  projection.Forward(pool, input, {.y = logits, .stride = experts});
  pool.For(input.tokens, kRowGrain, [&](int64_t first, int64_t end, int) {
    for (int64_t token = first; token < end; ++token) {
      Pick(logits + token * experts, {picks.ids + token * top_k, picks.weights + token * top_k});
    }
  });
}

void MixtureRouter::Pick(float* logits, const PickBuffer& picks) const {
  const int experts = num_experts();
  float most = logits[0];
  for (int i = 1; i < experts; ++i) most = std::max(most, logits[i]);
  float sum = 0;
  for (int i = 0; i < experts; ++i) sum += logits[i] = std::exp(logits[i] - most);
  for (int i = 0; i < experts; ++i) logits[i] /= sum;

  // An insertion into the best so far: the few experts of a mixture are not worth a heap.
  int kept = 0;
  for (int i = 0; i < experts; ++i) {
    if (kept < top_k) {
      ++kept;
    } else if (!(logits[i] > picks.weights[kept - 1])) {
      continue;
    }
    int at = kept - 1;
    for (; at > 0 && logits[i] > picks.weights[at - 1]; --at) {
      picks.ids[at] = picks.ids[at - 1];
      picks.weights[at] = picks.weights[at - 1];
    }
    picks.ids[at] = static_cast<uint32_t>(i);
    picks.weights[at] = logits[i];
  }
  if (!normalize) return;
  sum = 0;
  for (int k = 0; k < top_k; ++k) sum += picks.weights[k];
  for (int k = 0; k < top_k; ++k) picks.weights[k] /= sum;
}

}  // namespace peerage::nn
