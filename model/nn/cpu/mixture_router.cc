#include "model/nn/cpu/mixture_router.h"

#include <algorithm>
#include <cmath>
#include <span>

namespace peerage::nn::cpu {

MixtureRouter MixtureRouter::Place(const MixtureRouterPlan& plan, std::vector<std::string> more,
                                   WeightPlacer& placer) {
  more.insert(more.begin(), plan.weight.name);
  return {.projection = placer.Router(more),
          .num_experts = plan.num_experts(),
          .top_k = plan.top_k,
          .normalize = plan.normalize,
          .expert_layer = plan.expert_layer};
}

void MixtureRouter::Project(const StepContext& step, const Activations& u, float* logits) const {
  projection.Forward(step.pool, u, {.y = logits, .stride = logits_stride()});
}

void MixtureRouter::Choose(const StepContext& step, float* logits) const {
  const PickBuffer all = picks(step);
  step.ForTokens([&](RowRange rows) {
    for (int token = rows.first; token < rows.end; ++token) {
      const size_t first = size_t(token) * top_k;
      Pick(logits + token * logits_stride(), step.batch.ControlOf(token, expert_layer),
           {all.ids + first, all.weights + first});
    }
  });
  step.counters.Observe(step.pool, expert_layer, step.tokens(), [&](int token, int, int) {
    const std::span<const float> gates(logits + token * logits_stride(), num_experts);
    const std::span<const uint32_t> ids(all.ids + size_t(token) * top_k, top_k);
    return kernels::GateFigures(gates, ids);
  });
  step.counters.Count(step.pool, expert_layer, step.tokens());
}

void MixtureRouter::Pick(float* logits, const TokenControl& control,
                         const PickBuffer& picks) const {
  const bool forced = !control.ids.empty();
  if (control.layer != nullptr && !forced) {
    for (const auto& [id, logit] : control.layer->biases) logits[id] += logit;
  }
  const int experts = num_experts;
  float most = logits[0];
  for (int i = 1; i < experts; ++i) most = std::max(most, logits[i]);
  float sum = 0;
  for (int i = 0; i < experts; ++i) sum += logits[i] = std::exp(logits[i] - most);
  for (int i = 0; i < experts; ++i) logits[i] /= sum;

  const int kept =
      forced ? TakeForced(logits, control, picks) : KeepBest(logits, control.layer, picks);
  std::fill(picks.ids + kept, picks.ids + top_k, kNoExpert);
  std::fill(picks.weights + kept, picks.weights + top_k, 0.0f);
  if (!normalize || !control.weights.empty()) return;
  sum = 0;
  for (int k = 0; k < kept; ++k) sum += picks.weights[k];
  for (int k = 0; k < kept; ++k) picks.weights[k] /= sum;
}

int MixtureRouter::KeepBest(const float* gates, const LayerControl* control,
                            const PickBuffer& picks) const {
  int most = top_k;
  if (control != nullptr && control->top_k != 0) most = static_cast<int>(control->top_k);
  // An insertion into the best so far: the few experts of a mixture are not worth a heap.
  int kept = 0;
  for (int i = 0; i < num_experts; ++i) {
    if (control != nullptr && control->masks(i)) continue;
    if (kept < most) {
      ++kept;
    } else if (!(gates[i] > picks.weights[kept - 1])) {
      continue;
    }
    int at = kept - 1;
    for (; at > 0 && gates[i] > picks.weights[at - 1]; --at) {
      picks.ids[at] = picks.ids[at - 1];
      picks.weights[at] = picks.weights[at - 1];
    }
    picks.ids[at] = static_cast<uint32_t>(i);
    picks.weights[at] = gates[i];
  }
  return kept;
}

int MixtureRouter::TakeForced(const float* gates, const TokenControl& control,
                              const PickBuffer& picks) const {
  int kept = 0;
  for (; kept < top_k && control.ids[kept] != kNoExpert; ++kept) {
    picks.ids[kept] = control.ids[kept];
    picks.weights[kept] =
        control.weights.empty() ? gates[control.ids[kept]] : control.weights[kept];
  }
  return kept;
}

}  // namespace peerage::nn::cpu
