#pragma once

#include <vector>

#include "model/nn/cuda/linear_layer.h"
#include "model/nn/cuda/mixture_router.h"
#include "model/nn/plan/feed_forward_plan.h"

namespace peerage::nn::cuda {

// A mixture of gated feed-forward experts, and of MoE++'s zero, copy and constant experts:
//
//   x += sum over the token's top k experts of  gate * expert(u)
//
// The step's picks are ordered by expert on the device, so that only FFNs that some token chose are
// read, and the host need not know which.
class MixtureFfn {
 public:
  static MixtureFfn Place(const MixtureFfnPlan& plan, WeightPlacer& placer);

  // Chooses every token's experts. It needs u alone: in a parallel block this comes before
  // attention.
  void Route(StepContext& step, const Activations& u) const;
  void Forward(StepContext& step, const Activations& u) const;
  void RaiseNeeds(LayerNeeds& needs) const;

 private:
  void OrderAndGather(StepContext& step, const Activations& u) const;
  void RunExperts(StepContext& step, float* outputs) const;
  void Combine(StepContext& step, const Activations& u, const float* outputs) const;
  int hidden_size() const { return router_.projection.depth(); }
  int rows(int tokens) const { return tokens * router_.top_k; }  // at most

  MixtureRouter router_;
  bool gating_residual_ = false;
  LinearLayer residual_;  // W_g [experts, experts]; empty in the first such layer
  LinearGroup gate_up_, down_;
  Activation activation_ = Activation::kSilu;
  int first_copy_ = 0;  // ids: FFNs, zeros, copies, constants
  int first_constant_ = 0;
  const float* const* vectors_ = nullptr;  // v of each constant expert
};

}  // namespace peerage::nn::cuda
