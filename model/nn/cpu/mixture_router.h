#pragma once

#include "model/nn/cpu/linear_layer.h"
#include "model/nn/cpu/step_context.h"
#include "model/nn/cpu/weight_placer.h"
#include "model/nn/plan/mixture_router_plan.h"

namespace peerage::nn::cpu {

// The gates of a mixture of a few experts: p = softmax(W u) over all of them, in fp32, of which
// each token keeps the top k (higher value, then lower index). Soft routing keeps all.
struct MixtureRouter {
  LinearLayer projection;  // W [experts, hidden]
  int top_k = 0;
  bool normalize = false;  // Mixtral, BTX: kept gates are divided by their sum; BAM keeps them raw
  int expert_layer = 0;    // index into the model's expert layers

  static MixtureRouter Place(const MixtureRouterPlan& plan, WeightPlacer& placer);

  int num_experts() const { return projection.outputs(); }
  int hidden_size() const { return projection.depth(); }

  // Every token's experts, highest gate first; they are counted. NaN comes last and stays NaN. The
  // buffer of logits is scratch.
  void Forward(const StepContext& step, const Activations& u) const;

  PickBuffer picks(const StepContext& step) const { return step.counters.picks(expert_layer); }

 private:
  void Pick(float* logits, const PickBuffer& picks) const;  // of one token
};

}  // namespace peerage::nn::cpu
