#pragma once

#include "model/kernels/attention.h"
#include "model/nn/cpu/kv_cache.h"
#include "model/nn/cpu/linear_layer.h"
#include "model/nn/cpu/step_context.h"
#include "model/nn/cpu/weight_placer.h"
#include "model/nn/plan/attention_plan.h"

namespace peerage::nn::cpu {

// Grouped-query attention (Ainslie et al. 2023) with rotary positions:
//
//   q, k, v = W_q u, W_k u, W_v u;   x += W_o softmax(q k^T / sqrt(head_dim)) v
//
// Reads u, writes this step's keys and values into the cache, adds to the residual.
class Attention {
 public:
  static Attention Place(const AttentionPlan& plan, WeightPlacer& placer);

  void Forward(const StepContext& step, const Activations& u, const KvLayer& kv) const {
    Forward(step, u, kv, nullptr);
  }
  // With gates: [tokens][heads], what each head's output is multiplied by. Keys and values that
  // serve only heads of gate zero are not read.
  void Forward(const StepContext& step, const Activations& u, const KvLayer& kv,
               const float* head_gates) const;

  // The linear layers that a step reads whole, in its order.
  void AppendWeights(std::vector<LinearLayer*>& order) {
    order.insert(order.end(), {&qkv_, &output_});
  }

 private:
  void RotateAndStore(const StepContext& step, const KvLayer& kv) const;
  void Attend(const StepContext& step, const KvLayer& kv, const float* head_gates) const;
  bool IsGatedOff(const float* head_gates, const kernels::AttentionItem& item) const;
  void ApplyGates(const float* head_gates, float* attended, RowRange rows) const;
  size_t query_width() const { return size_t(shape_.heads) * shape_.head_dim; }
  size_t kv_width() const { return size_t(shape_.kv_heads) * shape_.head_dim; }

  LinearLayer qkv_;     // query, key and value rows, in this order
  LinearLayer output_;  // W_o
  kernels::AttentionShape shape_;
  RotaryPlan rotary_;
};

}  // namespace peerage::nn::cpu
