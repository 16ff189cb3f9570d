#include <ATen/ATen.h>

#include "train/network/layers.h"

namespace peerage::train {
namespace {

// Turns every pair of x [batch, heads, length, dim] by the angle of its position.
at::Tensor Rotated(const Pass& pass, const nn::RotaryPlan& rotary, const at::Tensor& x) {
  const int64_t half = rotary.dim / 2;
  const at::Tensor wide = x.to(at::kFloat);
  at::Tensor a, b;
  if (rotary.interleaved) {
    const at::Tensor pairs = wide.unflatten(-1, {half, 2});
    a = pairs.select(-1, 0);
    b = pairs.select(-1, 1);
  } else {
    a = wide.narrow(-1, 0, half);
    b = wide.narrow(-1, half, half);
  }
  const at::Tensor first = a * pass.cos - b * pass.sin, second = b * pass.cos + a * pass.sin;
  const at::Tensor turned = rotary.interleaved ? at::stack({first, second}, -1).flatten(-2)
                                               : at::cat({first, second}, -1);
  return turned.to(x.scalar_type());
}

// Causal attention within each sequence; the output of a head is multiplied by its gate
// [tokens, heads], if there are any.
at::Tensor Attend(Pass& pass, const nn::AttentionPlan& plan, const at::Tensor& u,
                  const at::Tensor& head_gates) {
  const int64_t dim = plan.head_dim, group = plan.heads / plan.kv_heads;
  const at::Tensor qkv =
      Linear(pass, plan.qkv, u).view({pass.batch, pass.length, -1, dim}).transpose(1, 2);
  const at::Tensor q = Rotated(pass, plan.rotary, qkv.narrow(1, 0, plan.heads));
  at::Tensor k = Rotated(pass, plan.rotary, qkv.narrow(1, plan.heads, plan.kv_heads));
  at::Tensor v = qkv.narrow(1, plan.heads + plan.kv_heads, plan.kv_heads);
  if (group > 1) {
    k = at::repeat_interleave(k, group, 1);
    v = at::repeat_interleave(v, group, 1);
  }
  at::Tensor heads = at::scaled_dot_product_attention(q, k, v, {}, 0.0, /*is_causal=*/true)
                         .transpose(1, 2)
                         .reshape({pass.tokens(), plan.heads, dim});
  if (head_gates.defined()) heads = heads * head_gates.unsqueeze(-1);
  return Linear(pass, plan.output, heads.flatten(1));
}

}  // namespace

at::Tensor Forward(Pass& pass, const nn::AttentionPlan& plan, const at::Tensor& u) {
  return Attend(pass, plan, u, {});
}

at::Tensor Forward(Pass& pass, const nn::MixtureAttentionPlan& plan, const at::Tensor& u) {
  const at::Tensor logits = at::linear(u, pass.parameters.Get(plan.router.weight.name));
  const at::Tensor gates = Gates(pass, plan.router, logits);
  const std::vector<int64_t> expert_of_head(plan.expert_of_head.begin(), plan.expert_of_head.end());
  return Attend(pass, plan.wide, u, gates.index_select(1, at::tensor(expert_of_head)));
}

}  // namespace peerage::train
