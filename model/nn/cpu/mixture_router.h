#pragma once

#include "model/nn/cpu/linear_layer.h"
#include "model/nn/cpu/step_context.h"
#include "model/nn/cpu/weight_placer.h"
#include "model/nn/plan/mixture_router_plan.h"

namespace peerage::nn::cpu {

// The gates of a mixture of a few experts: p = softmax(W u) over all of them, in fp32, of which
// each token keeps the top k (higher value, then lower index). Soft routing keeps all. What a
// request asks of it (model/experts/expert_control.h) is done here: biases are added before the
// softmax, masked experts are not kept.
struct MixtureRouter {
  LinearLayer projection;  // W [experts, hidden]; more rows may follow
  int num_experts = 0;
  int top_k = 0;
  bool normalize = false;  // Mixtral, BTX: kept gates are divided by their sum; BAM keeps them raw
  int expert_layer = 0;    // index into the model's expert layers

  // `more`: tensors whose rows follow those of the experts in the same product.
  static MixtureRouter Place(const MixtureRouterPlan& plan, std::vector<std::string> more,
                             WeightPlacer& placer);

  int hidden_size() const { return projection.depth(); }

  // The logits of all tokens, [tokens][logits_stride].
  void Project(const StepContext& step, const Activations& u, float* logits) const;
  // Every token's experts, highest gate first; they are counted. NaN comes last and stays NaN.
  // Logits become gates; what follows those of the experts stays.
  void Choose(const StepContext& step, float* logits) const;

  size_t logits_stride() const { return projection.outputs(); }

  PickBuffer picks(const StepContext& step) const { return step.counters.picks(expert_layer); }

 private:
  // Of one token. Logits become gates.
  void Pick(float* logits, const TokenControl& control, const PickBuffer& picks) const;
  // How many there are, best first.
  int KeepBest(const float* gates, const LayerControl* control, const PickBuffer& picks) const;
  int TakeForced(const float* gates, const TokenControl& control, const PickBuffer& picks) const;
};

}  // namespace peerage::nn::cpu
