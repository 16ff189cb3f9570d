#pragma once

#include "model/kernels/experts.h"
#include "model/nn/product_key_router.h"
#include "model/nn/workspace.h"

namespace peerage::nn {

// A table of experts or values and the router that picks from it: what PEER and product-key memory
// share. A token goes through routing and its picks on one thread, so that there is no barrier in
// between; when there are fewer tokens than threads, a token's heads are divided instead. The bits
// are the same.
struct RetrievedExperts {
  ProductKeyRouter router;
  kernels::ExpertTable table;
  Activation activation = Activation::kGelu;

  struct Step {
    Activations input;          // [tokens][hidden]
    float* residual = nullptr;  // [tokens][hidden], added to
    PickBuffer picks;           // receives what every token picked
  };
  void Forward(kernels::ThreadPool& pool, Workspace& workspace, const Step& step) const;

  size_t ScratchBytes() const;  // of one thread

 private:
  kernels::ExpertArgs ExpertArgsOf(const Step& step) const;
  void ForwardTokens(kernels::ThreadPool& pool, Workspace& workspace, const Step& step) const;
  void ForwardHeads(kernels::ThreadPool& pool, Workspace& workspace, const Step& step) const;
};

}  // namespace peerage::nn
