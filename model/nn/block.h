#pragma once

#include <variant>
#include <vector>

#include "model/nn/attention.h"
#include "model/nn/dense_ffn.h"
#include "model/nn/expert_counters.h"
#include "model/nn/norm.h"
#include "model/nn/peer.h"
#include "model/nn/pkm.h"

namespace peerage::nn {

using FeedForward = std::variant<DenseFfn, Peer, ProductKeyMemory>;

// One transformer layer on the residual stream x:
//
//   sequential (Llama):  h = x + attention(norm1(x));  y = h + ffn(norm2(h))
//   parallel (BAM):      u = norm(x);  y = x + attention(u) + ffn(u)
//
// where ffn is the sum of the layer's feed-forward parts.
struct Block {
  Norm input_norm;
  Norm post_attention_norm;  // sequential only
  bool parallel = false;
  Attention attention;
  std::vector<FeedForward> ffn;

  struct Step {
    const StepBatch& batch;
    KvLayer kv;  // this layer's cache
    ExpertCounters& counters;
  };
  void Forward(kernels::ThreadPool& pool, Workspace& workspace, const Step& step) const;
};

}  // namespace peerage::nn
