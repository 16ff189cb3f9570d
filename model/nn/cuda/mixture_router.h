#pragma once

#include <string>
#include <vector>

#include "model/nn/cuda/linear_layer.h"
#include "model/nn/cuda/step_context.h"
#include "model/nn/cuda/weight_placer.h"
#include "model/nn/plan/mixture_router_plan.h"

namespace peerage::nn::cuda {

// The gates of a mixture of a few experts: p = softmax(W u) over all of them, of which each token
// keeps the top k (higher value, then lower index). Soft routing keeps all. What a request asks of
// it (model/experts/expert_control.h) is done with the choice.
struct MixtureRouter {
  LinearLayer projection;  // W [experts, hidden]; more rows may follow
  int num_experts = 0;
  int top_k = 0;
  bool normalize = false;  // Mixtral, BTX: kept gates are divided by their sum; BAM keeps them raw
  int expert_layer = 0;    // index into the model's expert layers

  // `more`: tensors whose rows follow those of the experts in the same product.
  static MixtureRouter Place(const MixtureRouterPlan& plan, std::vector<std::string> more,
                             WeightPlacer& placer);

  // The logits of all tokens, [tokens][logits_stride].
  void Project(StepContext& step, const Activations& u, float* logits) const;
  // Every token's experts, highest gate first; they are counted. Logits become gates; what follows
  // those of the experts stays.
  void Choose(StepContext& step, float* logits) const;

  size_t logits_stride() const { return projection.outputs(); }
  PickBuffer picks(const StepContext& step) const { return step.counters.picks(expert_layer); }
};

}  // namespace peerage::nn::cuda
