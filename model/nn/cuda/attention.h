#pragma once

#include "model/kernels/attention_cuda.h"
#include "model/nn/cuda/linear_layer.h"
#include "model/nn/cuda/step_context.h"
#include "model/nn/cuda/weight_placer.h"
#include "model/nn/plan/attention_plan.h"

namespace peerage::nn::cuda {

// Grouped-query attention with rotary positions, added to the residual stream:
//
//   x += W_o attention(rotate(W_q u), rotate(W_k u), W_v u)
class Attention {
 public:
  static Attention Place(const AttentionPlan& plan, WeightPlacer& placer);

  // `head_gates` [tokens][heads] are factors of the heads' outputs, or null.
  void Forward(StepContext& step, const Activations& u, const kernels::cuda::KvView& kv,
               const float* head_gates = nullptr) const;
  void RaiseNeeds(LayerNeeds& needs) const;

 private:
  void Attend(StepContext& step, const kernels::cuda::KvView& kv, const float* head_gates) const;
  // `count` items from `first` on, all of whose tokens are among the first `rows` of the step.
  struct Items {
    int first, count, rows;
  };
  void Attend(StepContext& step, const kernels::cuda::KvView& kv, const float* head_gates,
              const Items& items) const;
  int SplitsOfRows(const StepContext& step, int rows) const;
  int query_width() const { return shape_.heads * shape_.head_dim; }

  LinearLayer qkv_;
  LinearLayer output_;
  kernels::cuda::AttentionShape shape_;
  bool interleaved_ = false;
  const float* angles_ = nullptr;  // [positions][cos, sin][head_dim / 2]
};

// How many splits of `context` positions run side by side in a step of so many tokens: none where
// tokens alone fill a device, or where partial sums would take more memory than they are worth.
int SplitsFor(const kernels::cuda::AttentionShape& shape, int tokens, int context);

// The most that their partial sums take in any step of at most so many tokens and positions.
size_t MostPartialFloats(const kernels::cuda::AttentionShape& shape, int tokens, int context);

}  // namespace peerage::nn::cuda
