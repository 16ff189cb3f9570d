#pragma once

#include "model/kernels/gated_activation.h"
#include "model/kernels/thread_pool.h"
#include "model/nn/linear_layer.h"
#include "model/nn/workspace.h"

namespace peerage::nn {

// Gated feed-forward (Shazeer 2020):  x += W_down (act(W_gate u) * (W_up u)).
struct DenseFfn {
  LinearLayer gate_up;  // gate rows, then up rows
  LinearLayer down;
  Activation activation = Activation::kSilu;

  // Reads u from `input` (prepared for `gate_up`), adds to the residual [tokens][hidden].
  void Forward(kernels::ThreadPool& pool, Workspace& workspace, const Activations& input,
               float* residual) const;
};

}  // namespace peerage::nn
