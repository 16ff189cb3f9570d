#include "train/network/network.h"

#include <ATen/ATen.h>

#include <utility>

#include "model/kernels/rotary.h"
#include "train/network/layers.h"

namespace peerage::train {
namespace {

// cos and sin of every position [length, head_dim / 2], as the server has them.
void SetAngles(Pass& pass, const nn::RotaryPlan& rotary) {
  pass.cos = at::empty({pass.length, rotary.dim / 2}, at::kFloat);
  pass.sin = at::empty_like(pass.cos);
  for (int64_t position = 0; position < pass.length; ++position) {
    kernels::RotaryAngles(static_cast<int>(position), rotary.theta, rotary.dim,
                          pass.cos[position].data_ptr<float>(),
                          pass.sin[position].data_ptr<float>());
  }
}

const nn::RotaryPlan& RotaryOf(const nn::AttentionPlan& plan) { return plan.rotary; }
const nn::RotaryPlan& RotaryOf(const nn::MixtureAttentionPlan& plan) { return plan.wide.rotary; }

at::Tensor Attention(Pass& pass, const nn::BlockPlan& block, const at::Tensor& u) {
  return std::visit([&](const auto& part) { return Forward(pass, part, u); }, block.attention);
}

at::Tensor FeedForward(Pass& pass, const nn::BlockPlan& block, const at::Tensor& u) {
  at::Tensor sum;
  for (const nn::FeedForwardPlan& part : block.ffn) {
    const at::Tensor y = std::visit([&](const auto& ffn) { return Forward(pass, ffn, u); }, part);
    sum = sum.defined() ? sum + y : y;
  }
  return sum;
}

// The residual stream x stays in f32.
at::Tensor Block(Pass& pass, const nn::BlockPlan& block, const at::Tensor& x) {
  const at::Tensor u = Normed(pass, block.input_norm, x);
  if (!block.post_attention_norm.has_value()) {
    const at::Tensor attended = x + Attention(pass, block, u);
    return attended + FeedForward(pass, block, u);
  }
  const at::Tensor h = x + Attention(pass, block, u);
  return h + FeedForward(pass, block, Normed(pass, *block.post_attention_norm, h));
}

at::Tensor MeanOf(const std::vector<at::Tensor>& losses) {
  return losses.empty() ? at::Tensor() : at::stack(losses).mean();
}

}  // namespace

NetworkOutput Forward(const nn::ModelPlan& plan, Parameters& parameters, const at::Tensor& tokens,
                      const NetworkOptions& options) {
  Pass pass{.parameters = parameters,
            .compute = options.compute,
            .learning = options.learning,
            .soft_routing = options.soft_routing,
            .batch = tokens.size(0),
            .length = tokens.size(1)};
  SetAngles(pass, std::visit([](const auto& part) { return RotaryOf(part); },
                             plan.blocks.front().attention));
  at::Tensor x = at::embedding(parameters.Get(plan.embedding.name), tokens.flatten());
  for (const nn::BlockPlan& block : plan.blocks) x = Block(pass, block, x);
  const nn::PlannedTensor& head = plan.head.has_value() ? *plan.head : plan.embedding;
  const at::Tensor logits = Linear(pass, nn::Rows({head}), Normed(pass, plan.final_norm, x));
  return {.logits = logits.to(at::kFloat),
          .balance_loss = MeanOf(pass.balance_losses),
          .z_loss = MeanOf(pass.z_losses),
          .picks = std::move(pass.picks)};
}

}  // namespace peerage::train
