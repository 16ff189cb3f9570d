#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "model/nn/plan/model_plan.h"
#include "train/network/parameters.h"
#include "train/network/pass.h"

namespace peerage::train {

// What a forward pass gives.
struct NetworkOutput {
  at::Tensor logits;         // [tokens, vocab] f32
  at::Tensor balance_loss;   // mean over the mixtures' routers; undefined where there are none
  at::Tensor z_loss;         // likewise
  std::vector<Picks> picks;  // of every expert layer, in the order of ModelPlan::ExpertLayers
};

struct NetworkOptions {
  at::ScalarType compute = at::kFloat;  // of matrix products: f32 or bf16
  bool learning = false;                // batch norms of queries see the batch, and remember it
  bool soft_routing = false;            // mixtures weigh all their experts, whatever top_k is
};

// The language model of a plan, with gradients.
// `tokens`: [sequences, length] int64. Precondition: length is at most plan.max_positions.
NetworkOutput Forward(const nn::ModelPlan& plan, Parameters& parameters, const at::Tensor& tokens,
                      const NetworkOptions& options);

}  // namespace peerage::train
