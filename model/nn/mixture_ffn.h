#pragma once

#include <vector>

#include "model/nn/dense_ffn.h"
#include "model/nn/mixture_router.h"

namespace peerage::nn {

// A mixture of gated feed-forward experts (BTX, Sukhbaatar et al. 2024; BAM, Zhang et al. 2024):
//
//   x += sum over the token's top k experts of  gate * FFN_expert(u)
//
// The step's picks are ordered by expert, so that only experts that some token chose are read, each
// of their weights once. A token adds its experts' outputs in the order of its picks.
struct MixtureFfn {
  MixtureRouter router;
  std::vector<DenseFfn> experts;
  int expert_layer = 0;  // index into the model's expert layers

  // Every token's experts, into `picks`. It needs u alone: in a parallel block this comes before
  // attention.
  void Route(kernels::ThreadPool& pool, Workspace& workspace, const Activations& input,
             const PickBuffer& picks) const;

  struct Step {
    Activations input;          // u [tokens][hidden]
    float* residual = nullptr;  // [tokens][hidden], added to
    PickBuffer picks;           // of Route
  };
  void Forward(kernels::ThreadPool& pool, Workspace& workspace, const Step& step) const;

 private:
  // Rows are picks ordered by expert, then by token.
  void OrderByExpert(const Step& step, MixtureBuffers& buffers) const;
  void Gather(kernels::ThreadPool& pool, Workspace& workspace, const Step& step) const;
  void Combine(kernels::ThreadPool& pool, Workspace& workspace, const Step& step) const;
};

}  // namespace peerage::nn
