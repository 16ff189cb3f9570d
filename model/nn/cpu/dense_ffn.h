#pragma once

#include "model/nn/cpu/linear_layer.h"
#include "model/nn/cpu/step_context.h"
#include "model/nn/cpu/weight_placer.h"
#include "model/nn/plan/feed_forward_plan.h"

namespace peerage::nn::cpu {

// Gated feed-forward (Shazeer 2020):  x += W_down (act(W_gate u) * (W_up u)).
struct DenseFfn {
  LinearLayer gate_up;  // gate rows, then up rows
  LinearLayer down;
  Activation activation = Activation::kSilu;

  static DenseFfn Place(const DenseFfnPlan& plan, WeightPlacer& placer);

  void Route(const StepContext& step, const Activations& u) const {}
  void Forward(const StepContext& step, const Activations& u) const;

  void AppendRouters(std::vector<LinearLayer*>& order) {}
  void AppendWeights(std::vector<LinearLayer*>& order) {
    order.insert(order.end(), {&gate_up, &down});
  }
  size_t ScratchBytes() const { return 0; }

  int width() const { return down.depth(); }
  // act(gate) * up of rows that `gate_up` gave, [rows][2 * width] to [rows][width].
  void Activate(const float* gate_up_rows, float* hidden, RowRange rows) const;
};

}  // namespace peerage::nn::cpu
