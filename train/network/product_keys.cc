#include <ATen/ATen.h>

#include <algorithm>
#include <array>

#include "absl/strings/string_view.h"
#include "model/config/choices.h"
#include "train/network/layers.h"
#include "train/ops/operators.h"

namespace peerage::train {
namespace {

constexpr double kBatchNormMomentum = 0.1;  // PyTorch's

// Of the tables of a layer, of which one is named.
TableGradient GradientOf(Pass& pass, const std::string& table) {
  const int64_t ledger = pass.parameters.Find(table).place.ledger;
  return ledger == 0 ? TableGradient{} : TableGradient{kLedger, ledger};
}

// [tokens, heads, key_dim]
at::Tensor Queries(Pass& pass, const nn::ProductKeyRouterPlan& plan, const at::Tensor& x) {
  Parameters& parameters = pass.parameters;
  c10::optional<at::Tensor> bias;
  if (plan.bias.has_value()) bias = parameters.Get(plan.bias->name);
  at::Tensor q = at::linear(x, parameters.Get(plan.query.name), bias);
  const std::vector<int64_t> shape = {x.size(0), plan.config.heads, plan.config.key_dim};
  if (!plan.norm.has_value()) return q.view(shape);
  const nn::QueryNormPlan& norm = *plan.norm;
  const at::Tensor scale = parameters.Get(norm.weight.name), shift = parameters.Get(norm.bias.name);
  if (!norm.running.has_value()) {
    return at::layer_norm(q.view(shape), {plan.config.key_dim}, scale, shift, norm.epsilon);
  }
  const Parameter& mean = parameters.Find(norm.running->mean.name);
  const Parameter& variance = parameters.Find(norm.running->variance.name);
  q = at::batch_norm(q, scale, shift, mean.value, variance.value,
                     /*training=*/pass.learning && mean.changes, kBatchNormMomentum, norm.epsilon,
                     /*cudnn_enabled=*/false);
  return q.view(shape);
}

// Of a router without queries: scores [tokens, heads, n] of the sub-keys of each half.
std::array<at::Tensor, 2> DirectScores(Pass& pass, const nn::ProductKeyRouterPlan& plan,
                                       const at::Tensor& x) {
  Parameters& parameters = pass.parameters;
  c10::optional<at::Tensor> bias;
  if (plan.bias.has_value()) bias = parameters.Get(plan.bias->name).flatten();
  const at::Tensor scores = at::linear(x, parameters.Get(plan.query.name).flatten(0, 2), bias)
                                .view({x.size(0), plan.config.heads, 2, plan.config.num_sub_keys});
  return {scores.select(2, 0), scores.select(2, 1)};
}

// Of queries [tokens, heads, 2, width] and sub-keys [heads or 1, n, 2, width], likewise.
std::array<at::Tensor, 2> HalfScores(const at::Tensor& queries, const at::Tensor& keys) {
  const auto of_half = [&](int64_t half) {
    // [heads, tokens, width] x [heads or 1, width, n]
    return at::matmul(queries.select(2, half).transpose(0, 1), keys.select(2, half).transpose(1, 2))
        .transpose(0, 1);
  };
  return {of_half(0), of_half(1)};
}

// The best pairs of the best sub-keys of both halves (Lample et al. 2019, section 3.2).
ProductKeyPicks BestPairs(const std::array<at::Tensor, 2>& scores, const ProductKeyConfig& config) {
  const int64_t n = config.num_sub_keys, listed = std::min<int64_t>(config.top_k, n);
  const auto [first_scores, first_ids] = at::topk(scores[0], listed);
  const auto [second_scores, second_ids] = at::topk(scores[1], listed);
  const auto [sums, pairs] = at::topk(
      (first_scores.unsqueeze(-1) + second_scores.unsqueeze(-2)).flatten(-2), config.top_k);
  const at::Tensor first = first_ids.gather(-1, pairs.floor_divide(listed));
  const at::Tensor second = second_ids.gather(-1, pairs.remainder(listed));
  return {.ids = first * n + second, .scores = sums};
}

// Products of the two halves' probabilities over all their sub-keys.
at::Tensor JointProbabilities(const std::array<at::Tensor, 2>& scores, const at::Tensor& ids) {
  const int64_t n = scores[0].size(-1);
  return at::exp(at::log_softmax(scores[0], -1).gather(-1, ids.floor_divide(n)) +
                 at::log_softmax(scores[1], -1).gather(-1, ids.remainder(n)));
}

at::Tensor PickWeights(RouterScore score, const at::Tensor& sums) {
  switch (score) {
    case RouterScore::kSoftmax:
      return at::softmax(sums, -1);
    case RouterScore::kSigmoid:
      return at::sigmoid(sums);
    default:
      return at::relu(sums);
  }
}

// Rows of the tables and their weights, [tokens, heads, top_k] each.
ProductKeyPicks Retrieve(Pass& pass, const nn::ProductKeyRouterPlan& plan, const at::Tensor& x) {
  const ProductKeyConfig& config = plan.config;
  const bool is_joint = config.score == RouterScore::kJointSoftmax;
  ProductKeyPicks picks;
  std::array<at::Tensor, 2> scores;
  if (plan.sub_keys.has_value()) {
    const at::Tensor queries =
        Queries(pass, plan, x).view({x.size(0), config.heads, 2, config.key_dim / 2});
    at::Tensor keys = pass.parameters.Get(plan.sub_keys->name);  // [heads, 2, n, width] or without
    if (config.keys != ProductKeys::kPerHead) keys = keys.unsqueeze(0);
    keys = keys.transpose(1, 2);
    picks = ProductKeyTopK(queries, keys, config.top_k);
    if (is_joint) scores = HalfScores(queries, keys);
  } else {
    scores = DirectScores(pass, plan, x);
    picks = BestPairs(scores, config);
  }
  picks.scores =
      is_joint ? JointProbabilities(scores, picks.ids) : PickWeights(config.score, picks.scores);
  if (config.per_head_experts) {
    const at::Tensor head = at::arange(config.heads, at::kLong) * config.num_experts;
    picks.ids = picks.ids + head.unsqueeze(-1);
  }
  pass.picks.push_back({picks.ids.flatten(1), picks.scores.detach().flatten(1)});
  return picks;
}

}  // namespace

// PEER (He 2024, Algorithm 1): experts of one neuron each.
at::Tensor Forward(Pass& pass, const nn::PeerPlan& plan, const at::Tensor& u) {
  const at::Tensor x = plan.norm.has_value() ? Normed(pass, *plan.norm, u) : u;
  const ProductKeyPicks picks = Retrieve(pass, plan.router, x);
  ExpertTables tables{.down = pass.parameters.Get(plan.down.name),
                      .up = pass.parameters.Get(plan.up.name)};
  if (plan.gate.has_value()) tables.gate = pass.parameters.Get(plan.gate->name);
  const absl::string_view activation = ChoiceName(kActivations, plan.config.activation);
  return PeerExperts(x, picks, tables,
                     {.activation = {activation.data(), activation.size()},
                      .table_gradient = GradientOf(pass, plan.up.name)});
}

at::Tensor Forward(Pass& pass, const nn::ProductKeyMemoryPlan& plan, const at::Tensor& u) {
  return PkmValues(Retrieve(pass, plan.router, u), pass.parameters.Get(plan.values.name),
                   GradientOf(pass, plan.values.name));
}

}  // namespace peerage::train
