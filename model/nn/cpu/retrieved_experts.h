#pragma once

#include "model/kernels/experts.h"
#include "model/nn/cpu/product_key_router.h"
#include "model/nn/cpu/step_context.h"

namespace peerage::nn::cpu {

// A table of experts or values and the router that picks from it: what PEER and product-key memory
// share. A token goes through routing and its picks on one thread, so that there is no barrier in
// between; when there are fewer tokens than threads, a token's heads are divided instead. The bits
// are the same.
struct RetrievedExperts {
  ProductKeyRouter router;
  kernels::ExpertTable table;
  Activation activation = Activation::kGelu;

  // Picks experts for the rows of `input` [tokens][hidden], counts them and adds what they give to
  // the residual.
  void Forward(const StepContext& step, const Activations& input) const;

  size_t ScratchBytes() const;  // of one thread

 private:
  kernels::ExpertArgs ExpertArgsOf(const StepContext& step, const Activations& input) const;
  void ForwardTokens(const StepContext& step, const Activations& input) const;
  void ForwardHeads(const StepContext& step, const Activations& input) const;
};

}  // namespace peerage::nn::cpu
