// One forward pass of a network, and what its layers share: projections and norms. Layers compute
// what docs/model_format.md says, from the plan that the server's layers are made of.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "model/config/activation.h"
#include "model/nn/plan/part.h"
#include "train/network/parameters.h"

namespace peerage::train {

// The experts that the tokens of a pass picked in one expert layer.
struct Picks {
  at::Tensor ids;      // [tokens, picks] int64
  at::Tensor weights;  // [tokens, picks] f32, without gradient
};

struct Pass {
  Parameters& parameters;
  at::ScalarType compute = at::kFloat;  // of matrix products, but not those of routers
  bool learning = false;                // batch norms see the batch, and remember it
  bool soft_routing = false;            // mixtures weigh all their experts
  int64_t batch = 0;                    // sequences
  int64_t length = 0;                   // of each, in tokens
  at::Tensor cos = {};                  // [length, head_dim / 2], of the positions
  at::Tensor sin = {};

  // What layers leave behind.
  std::vector<Picks> picks = {};                // of every expert layer
  std::vector<at::Tensor> balance_losses = {};  // of every mixture's router
  std::vector<at::Tensor> z_losses = {};
  at::Tensor kept_logits = {};  // of the nearest mixture with a gating residual

  int64_t tokens() const { return batch * length; }
};

// y = x W^T for each slice of a matrix joined by rows, [tokens, rows of the slice] each.
std::vector<at::Tensor> Project(Pass& pass, const nn::MatrixSource& source, const at::Tensor& x);
// One side by side with the other; of a matrix joined by columns the sum over its slices, each of
// which reads its own part of x.
at::Tensor Linear(Pass& pass, const nn::MatrixSource& source, const at::Tensor& x);

// In f32.
at::Tensor Normed(Pass& pass, const nn::NormPlan& norm, const at::Tensor& x);

at::Tensor Activated(Activation activation, const at::Tensor& x);

}  // namespace peerage::train
