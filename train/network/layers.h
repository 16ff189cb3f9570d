// The layers of a network, each the function of its plan. `u` is what a layer reads after its norm,
// [tokens, hidden] in f32, the sequences of the batch one after the other; what comes back has the
// same shape.
#pragma once

#include <ATen/core/Tensor.h>

#include "model/nn/plan/attention_plan.h"
#include "model/nn/plan/feed_forward_plan.h"
#include "model/nn/plan/product_key_plan.h"
#include "train/network/pass.h"

namespace peerage::train {

at::Tensor Forward(Pass& pass, const nn::AttentionPlan& plan, const at::Tensor& u);
at::Tensor Forward(Pass& pass, const nn::MixtureAttentionPlan& plan, const at::Tensor& u);
at::Tensor Forward(Pass& pass, const nn::DenseFfnPlan& plan, const at::Tensor& u);
at::Tensor Forward(Pass& pass, const nn::MixtureFfnPlan& plan, const at::Tensor& u);
at::Tensor Forward(Pass& pass, const nn::PeerPlan& plan, const at::Tensor& u);
at::Tensor Forward(Pass& pass, const nn::ProductKeyMemoryPlan& plan, const at::Tensor& u);

// The gates of a mixture [tokens, experts], zero where an expert is not kept: softmax of the logits
// over all experts, of which the top_k largest stay, those of lower index first among equals; with
// soft routing all stay. Leaves picks, the top_k in either case, and losses with the pass:
//   balance (Fedus et al. 2022, eq. 4): experts * sum over experts of their share of the picks
//   times
//     their mean probability; 1 when all are met alike;
//   z (Zoph et al. 2022, eq. 5): the mean over tokens of logsumexp(logits)^2.
at::Tensor Gates(Pass& pass, const nn::MixtureRouterPlan& router, const at::Tensor& logits);

}  // namespace peerage::train
