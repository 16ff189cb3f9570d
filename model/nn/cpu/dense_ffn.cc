#include "model/nn/cpu/dense_ffn.h"

#include "model/kernels/gated_activation.h"

namespace peerage::nn::cpu {

DenseFfn DenseFfn::Place(const DenseFfnPlan& plan, WeightPlacer& placer) {
  DenseFfn ffn;
  ffn.gate_up = placer.Linear(plan.gate_up);
  ffn.down = placer.Linear(plan.down);
  ffn.activation = plan.activation;
  return ffn;
}

void DenseFfn::Forward(const StepContext& step, const Activations& u) const {
  Workspace& buffers = step.workspace;
  const Activations hidden{.x = buffers.hidden,
                           .stride = static_cast<size_t>(width()),
                           .panels = buffers.panels,
                           .tokens = step.tokens()};
  gate_up.PrepareAndForward(
      step.pool, u, {.y = buffers.gate_up, .stride = static_cast<size_t>(gate_up.outputs())});
  step.ForTokens([&](RowRange rows) {
    Activate(buffers.gate_up, buffers.hidden, rows);
    down.Prepare(hidden, rows);
  });
  down.Forward(step.pool, hidden, step.AddToResidual(down.outputs()));
}

void DenseFfn::Activate(const float* gate_up_rows, float* hidden, RowRange rows) const {
  kernels::GatedActivation({.function = activation,
                            .gate = gate_up_rows,
                            .up = gate_up_rows + width(),
                            .in_stride = 2 * static_cast<size_t>(width()),
                            .width = width(),
                            .y = hidden,
                            .y_stride = static_cast<size_t>(width())},
                           rows.first, rows.end);
}

}  // namespace peerage::nn::cpu
