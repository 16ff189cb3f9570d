#pragma once

#include "model/nn/cuda/linear_layer.h"
#include "model/nn/cuda/step_context.h"
#include "model/nn/cuda/weight_placer.h"
#include "model/nn/plan/feed_forward_plan.h"

namespace peerage::nn::cuda {

// A gated feed-forward layer (Shazeer 2020): x += W_down (act(W_gate u) * (W_up u)).
struct DenseFfn {
  LinearLayer gate_up;  // gate rows, then up rows
  LinearLayer down;
  Activation activation = Activation::kSilu;

  static DenseFfn Place(const DenseFfnPlan& plan, WeightPlacer& placer);

  void Route(StepContext& step, const Activations& u) const {}
  void Forward(StepContext& step, const Activations& u) const;
  void RaiseNeeds(LayerNeeds& needs) const;

  int width() const { return down.depth(); }
};

}  // namespace peerage::nn::cuda
