#pragma once

#include <vector>

#include "model/nn/attention.h"
#include "model/nn/mixture_router.h"

namespace peerage::nn {

// A mixture of whole attention layers (BAM, Zhang et al. 2024, section 3):
//
//   x += sum over experts of  gate * Attention_expert(u)
//
// computed as one attention with the heads of all experts, each head's output multiplied by its
// expert's gate before one output projection, which is the same sum. With keys and values of their
// own the experts' heads lie side by side; with shared ones it is a grouped-query attention over
// the few KV heads, and heads are ordered by KV head, then expert.
struct MixtureAttention {
  MixtureRouter router;
  Attention wide;
  std::vector<int> expert_of_head;  // [heads of all experts]
  int expert_layer = 0;             // index into the model's expert layers

  // Precondition: the input is prepared for wide.qkv.
  void Forward(kernels::ThreadPool& pool, Workspace& workspace, const Attention::Step& step,
               const PickBuffer& picks) const;
};

}  // namespace peerage::nn
