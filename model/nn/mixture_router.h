#pragma once

#include "model/kernels/thread_pool.h"
#include "model/nn/linear_layer.h"
#include "model/nn/product_key_router.h"

namespace peerage::nn {

// The gates of a mixture of a few experts: p = softmax(W u) over all of them, in fp32, of which
// each token keeps the top k (higher value, then lower index). Soft routing keeps all.
struct MixtureRouter {
  LinearLayer projection;  // W [experts, hidden]
  int top_k = 0;
  bool normalize = false;  // Mixtral, BTX: kept gates are divided by their sum; BAM keeps them raw

  int num_experts() const { return projection.outputs(); }

  // `logits`: scratch, [tokens][experts]. A token's picks come by gate, highest first. NaN comes
  // last and stays NaN.
  void Forward(kernels::ThreadPool& pool, const Activations& input, float* logits,
               const PickBuffer& picks) const;

 private:
  void Pick(float* logits, const PickBuffer& picks) const;  // of one token
};

}  // namespace peerage::nn
