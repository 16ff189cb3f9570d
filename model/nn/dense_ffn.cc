#include "model/nn/dense_ffn.h"

namespace peerage::nn {

void DenseFfn::Forward(kernels::ThreadPool& pool, Workspace& workspace, const Activations& input,
                       float* residual) const {
  const int width = down.depth();
  const size_t gate_up_stride = gate_up.outputs();
  gate_up.Forward(pool, input, {.y = workspace.gate_up, .stride = gate_up_stride});

  const kernels::GatedActivationArgs gated{.function = activation,
                                           .gate = workspace.gate_up,
                                           .up = workspace.gate_up + width,
                                           .in_stride = gate_up_stride,
                                           .width = width,
                                           .y = workspace.hidden,
                                           .y_stride = static_cast<size_t>(width)};
  const Activations hidden{.x = workspace.hidden,
                           .stride = static_cast<size_t>(width),
                           .panels = workspace.panels,
                           .tokens = input.tokens};
  pool.For(input.tokens, kRowGrain, [&](int64_t first, int64_t end, int) {
    kernels::GatedActivation(gated, static_cast<int>(first), static_cast<int>(end));
    down.PrepareInput(hidden, static_cast<int>(first), static_cast<int>(end));
  });
  down.Forward(pool, hidden,
               {.y = residual,
                .stride = static_cast<size_t>(down.outputs()),
                .epilogue = kernels::Epilogue::kAdd});
}

}  // namespace peerage::nn
