#pragma once

#include <optional>

#include "model/nn/norm.h"
#include "model/nn/retrieved_experts.h"

namespace peerage::nn {

// Parameter-efficient expert retrieval (He 2024, Algorithm 1): experts of one neuron each, of which
// every head picks its top k by product keys:
//
//   x += sum over heads and picks of  weight * act(down . u) * up
//
// With a gate vector per expert: weight * act(gate . u) * (down . u) * up. An optional norm of u
// comes before query and experts (peer-pytorch's pre_rmsnorm).
struct Peer {
  std::optional<Norm> norm;
  RetrievedExperts experts;
  int expert_layer = 0;  // index into the model's expert layers

  void Forward(kernels::ThreadPool& pool, Workspace& workspace,
               const RetrievedExperts::Step& step) const;
};

}  // namespace peerage::nn
