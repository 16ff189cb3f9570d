#pragma once

#include "model/nn/retrieved_experts.h"

namespace peerage::nn {

// Product-key memory (Lample et al. 2019): x += sum over heads and picks of  weight * value.
// The values do not look at u; only the query does.
struct ProductKeyMemory {
  RetrievedExperts values;
  int expert_layer = 0;  // index into the model's expert layers

  void Forward(kernels::ThreadPool& pool, Workspace& workspace,
               const RetrievedExperts::Step& step) const {
    values.Forward(pool, workspace, step);
  }
};

}  // namespace peerage::nn
