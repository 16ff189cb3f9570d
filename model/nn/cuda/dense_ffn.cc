#include "model/nn/cuda/dense_ffn.h"

#include "model/kernels/gated_activation_cuda.h"

namespace peerage::nn::cuda {

DenseFfn DenseFfn::Place(const DenseFfnPlan& plan, WeightPlacer& placer) {
  return {.gate_up = placer.Linear(plan.gate_up),
          .down = placer.Linear(plan.down),
          .activation = plan.activation};
}

void DenseFfn::Forward(StepContext& step, const Activations& u) const {
  const Workspace& buffers = step.workspace;
  cuda::Forward(gate_up, step, u, step.tokens(),
                {.y = buffers.gate_up, .stride = static_cast<size_t>(gate_up.outputs())});
  step.Launch(kernels::cuda::GatedActivation, {.function = activation,
                                               .gate_up = buffers.gate_up,
                                               .y = buffers.hidden,
                                               .y_type = step.activations,
                                               .rows = step.tokens(),
                                               .width = width()});
  AddToResidual(down, step, step.Rows(buffers.hidden, width()));
}

void DenseFfn::RaiseNeeds(LayerNeeds& needs) const {
  cuda::RaiseNeeds(gate_up, needs.tokens, needs);
  cuda::RaiseNeeds(down, needs.tokens, needs);
}

}  // namespace peerage::nn::cuda
