#pragma once

#include "model/kernels/attention.h"
#include "model/kernels/thread_pool.h"
#include "model/nn/kv_cache.h"
#include "model/nn/linear_layer.h"
#include "model/nn/step_batch.h"
#include "model/nn/workspace.h"

namespace peerage::nn {

// Grouped-query attention (Ainslie et al. 2023) with rotary positions:
//
//   q, k, v = W_q u, W_k u, W_v u;   x += W_o softmax(q k^T / sqrt(head_dim)) v
//
// Reads u from `input`, writes this step's keys and values into the cache, adds to the residual.
struct Attention {
  LinearLayer qkv;     // query, key and value rows, in this order
  LinearLayer output;  // W_o
  kernels::AttentionShape shape;
  bool rope_interleaved = false;

  struct Step {
    const StepBatch& batch;
    const Activations& input;   // u, prepared for `qkv`
    KvLayer kv;                 // this layer's cache
    float* residual = nullptr;  // [tokens][hidden]
    // [tokens][heads], what each head's output is multiplied by; null: ones. Keys and values that
    // serve only heads of gate zero are not read.
    const float* head_gates = nullptr;
  };
  void Forward(kernels::ThreadPool& pool, Workspace& workspace, const Step& step) const;

 private:
  void RotateAndStore(const StepBatch& batch, float* qkv_rows, const KvLayer& kv, int token) const;
  bool IsGatedOff(const float* head_gates, const kernels::AttentionItem& item) const;
  void ApplyGates(const float* head_gates, float* attended, int token) const;
  int query_width() const { return shape.heads * shape.head_dim; }
  int kv_width() const { return shape.kv_heads * shape.head_dim; }
};

}  // namespace peerage::nn
