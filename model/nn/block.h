#pragma once

#include <vector>

#include "model/nn/attention.h"
#include "model/nn/dense_ffn.h"
#include "model/nn/norm.h"

namespace peerage::nn {

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
  std::vector<DenseFfn> ffn;

  void Forward(kernels::ThreadPool& pool, Workspace& workspace, const StepBatch& batch,
               const KvLayer& kv) const;
};

}  // namespace peerage::nn
