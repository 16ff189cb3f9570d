#include <ATen/ATen.h>

#include "train/network/layers.h"

namespace peerage::train {
namespace {

// What the feed-forward experts of a mixture add to y.
at::Tensor AddExperts(Pass& pass, const nn::MixtureFfnPlan& plan, const at::Tensor& u,
                      const at::Tensor& gates, at::Tensor y) {
  const bool soft = pass.soft_routing || plan.router.idle_experts() == 0;
  for (size_t e = 0; e < plan.experts.size(); ++e) {
    const at::Tensor gate = gates.narrow(1, static_cast<int64_t>(e), 1);
    if (soft) {
      y = y + gate * Forward(pass, plan.experts[e], u);
      continue;
    }
    const at::Tensor rows = at::nonzero(gate.detach().squeeze(1)).squeeze(1);
    if (rows.numel() == 0) continue;
    const at::Tensor output = Forward(pass, plan.experts[e], u.index_select(0, rows));
    y = y.index_add(0, rows, gate.index_select(0, rows) * output);
  }
  return y;
}

// a1 u + a2 v, (a1, a2) = softmax(weight u).
at::Tensor Constant(Pass& pass, const nn::ConstantExpertPlan& constant, const at::Tensor& u) {
  const at::Tensor share =
      at::softmax(at::linear(u, pass.parameters.Get(constant.weight.name)), -1);
  return share.narrow(1, 0, 1) * u +
         share.narrow(1, 1, 1) * pass.parameters.Get(constant.vector.name);
}

}  // namespace

at::Tensor Forward(Pass& pass, const nn::DenseFfnPlan& plan, const at::Tensor& u) {
  const std::vector<at::Tensor> gate_up = Project(pass, plan.gate_up, u);
  return Linear(pass, plan.down, Activated(plan.activation, gate_up[0]) * gate_up[1]);
}

at::Tensor Forward(Pass& pass, const nn::MixtureFfnPlan& plan, const at::Tensor& u) {
  at::Tensor logits = at::linear(u, pass.parameters.Get(plan.router.weight.name));
  if (plan.residual.has_value()) {
    logits = logits + at::linear(pass.kept_logits, pass.parameters.Get(plan.residual->name));
  }
  if (plan.gating_residual) pass.kept_logits = logits;
  const at::Tensor gates = Gates(pass, plan.router, logits);
  at::Tensor y = AddExperts(pass, plan, u, gates, at::zeros_like(u));
  int64_t e = static_cast<int64_t>(plan.experts.size()) + plan.zero_experts;
  for (int copy = 0; copy < plan.copy_experts; ++copy) y = y + gates.narrow(1, e++, 1) * u;
  for (const nn::ConstantExpertPlan& constant : plan.constants) {
    y = y + gates.narrow(1, e++, 1) * Constant(pass, constant, u);
  }
  return y;
}

at::Tensor Gates(Pass& pass, const nn::MixtureRouterPlan& router, const at::Tensor& logits) {
  const int64_t experts = router.num_experts(), k = router.top_k;
  const at::Tensor p = at::softmax(logits, -1);
  const at::Tensor ids =
      std::get<1>(at::sort(p.detach(), /*stable=*/true, -1, /*descending=*/true)).narrow(-1, 0, k);
  const at::Tensor kept = at::zeros_like(p.detach()).scatter_(1, ids, 1.0);
  at::Tensor gates = pass.soft_routing ? p : p * kept;
  if (router.normalize) gates = gates / gates.sum(-1, /*keepdim=*/true);
  pass.picks.push_back({ids, gates.detach().gather(1, ids)});
  const at::Tensor shares = kept.mean(0) / static_cast<double>(k);
  pass.balance_losses.push_back((shares * p.mean(0)).sum() * static_cast<double>(experts));
  pass.z_losses.push_back(at::logsumexp(logits, -1).square().mean());
  return gates;
}

}  // namespace peerage::train
