#pragma once

#include <cstddef>

#include "model/kernels/product_keys_cuda.h"
#include "model/nn/cuda/linear_layer.h"
#include "model/nn/cuda/step_context.h"
#include "model/nn/cuda/weight_placer.h"
#include "model/nn/plan/product_key_plan.h"

namespace peerage::nn::cuda {

// Finds each token's experts by product keys (He 2024, section 2.1):
//
//   q = norm(W_q x + b);  s1 = K1 q[:key_dim/2],  s2 = K2 q[key_dim/2:]
//   picks = the top k of s1[i] + s2[j] over the top k of each;  id = i * n + j
//
// With direct keys (Doge, OmniMoE) a matrix gives s1 and s2 of every head from x. What a request
// asks of the router (model/experts/expert_control.h) is done afterwards, to its own tokens alone.
struct ProductKeyRouter {
  LinearLayer query;  // rows (head, component); direct: rows (head, half, sub-key)

  // Layer norm of each head's query; without a weight there is none.
  struct QueryLayerNorm {
    const float* weight = nullptr;  // [key_dim]
    const float* bias = nullptr;    // [key_dim]
    float epsilon = 0;
  };
  QueryLayerNorm layer_norm = {};

  SubKeys keys = {};  // no sets: direct
  kernels::cuda::ProductKeyShape shape;
  int expert_layer = 0;  // index into the model's expert layers

  static ProductKeyRouter Place(const ProductKeyRouterPlan& plan, WeightPlacer& placer);

  // Picks every token's experts.
  void Forward(StepContext& step, const Activations& input) const;
  // How sure it was, and what was picked, into the counters.
  void Count(StepContext& step, size_t record_bytes) const;
  void RaiseNeeds(LayerNeeds& needs) const;

 private:
  void NormalizeQueries(StepContext& step) const;
};

}  // namespace peerage::nn::cuda
