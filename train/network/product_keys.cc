#include <ATen/ATen.h>

#include <algorithm>

#include "train/network/layers.h"

namespace peerage::train {
namespace {

constexpr double kBatchNormMomentum = 0.1;  // PyTorch's

// What the heads of all tokens retrieve: [tokens, heads, top_k] each.
struct Retrieved {
  at::Tensor ids;  // rows of the tables
  at::Tensor weights;
};

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

// Scores of the sub-keys of one half: [tokens, heads, n].
std::vector<at::Tensor> HalfScores(Pass& pass, const nn::ProductKeyRouterPlan& plan,
                                   const at::Tensor& x) {
  const ProductKeyConfig& config = plan.config;
  Parameters& parameters = pass.parameters;
  if (!plan.sub_keys.has_value()) {
    c10::optional<at::Tensor> bias;
    if (plan.bias.has_value()) bias = parameters.Get(plan.bias->name).flatten();
    const at::Tensor scores = at::linear(x, parameters.Get(plan.query.name).flatten(0, 2), bias)
                                  .view({x.size(0), config.heads, 2, config.num_sub_keys});
    return {scores.select(2, 0), scores.select(2, 1)};
  }
  const at::Tensor q =
      Queries(pass, plan, x).view({x.size(0), config.heads, 2, config.key_dim / 2});
  const at::Tensor keys = parameters.Get(plan.sub_keys->name);
  std::vector<at::Tensor> scores;
  for (const int64_t half : {0, 1}) {
    const at::Tensor query = q.select(2, half);
    if (config.keys == ProductKeys::kPerHead) {
      // [heads, tokens, key] x [heads, key, n]
      scores.push_back(
          at::matmul(query.transpose(0, 1), keys.select(1, half).transpose(1, 2)).transpose(0, 1));
    } else {
      scores.push_back(at::linear(query, keys.select(0, half)));
    }
  }
  return scores;
}

at::Tensor PickWeights(RouterScore score, const std::vector<at::Tensor>& scores,
                       const at::Tensor& sums, const at::Tensor& first, const at::Tensor& second) {
  switch (score) {
    case RouterScore::kSoftmax:
      return at::softmax(sums, -1);
    case RouterScore::kSigmoid:
      return at::sigmoid(sums);
    case RouterScore::kRelu:
      return at::relu(sums);
    case RouterScore::kJointSoftmax:
      return at::exp(at::log_softmax(scores[0], -1).gather(-1, first) +
                     at::log_softmax(scores[1], -1).gather(-1, second));
  }
  return sums;
}

// The best pairs of the best sub-keys of both halves (Lample et al. 2019, section 3.2).
Retrieved Retrieve(Pass& pass, const nn::ProductKeyRouterPlan& plan, const at::Tensor& x) {
  const ProductKeyConfig& config = plan.config;
  const int64_t n = config.num_sub_keys, listed = std::min<int64_t>(config.top_k, n);
  const std::vector<at::Tensor> scores = HalfScores(pass, plan, x);
  const auto [first_scores, first_ids] = at::topk(scores[0], listed);
  const auto [second_scores, second_ids] = at::topk(scores[1], listed);
  const auto [sums, pairs] = at::topk(
      (first_scores.unsqueeze(-1) + second_scores.unsqueeze(-2)).flatten(-2), config.top_k);
  const at::Tensor first = first_ids.gather(-1, pairs.floor_divide(listed));
  const at::Tensor second = second_ids.gather(-1, pairs.remainder(listed));
  Retrieved retrieved{.ids = first * n + second,
                      .weights = PickWeights(config.score, scores, sums, first, second)};
  if (config.per_head_experts) {
    const at::Tensor head = at::arange(config.heads, at::kLong) * config.num_experts;
    retrieved.ids = retrieved.ids + head.unsqueeze(-1);
  }
  pass.picks.push_back({retrieved.ids.flatten(1), retrieved.weights.detach().flatten(1)});
  return retrieved;
}

// For every token the sum of its picks' rows of a table, each times its factor [tokens, picks].
at::Tensor WeightedRows(const at::Tensor& table, const at::Tensor& ids, const at::Tensor& factors) {
  constexpr int64_t kSum = 0;
  const at::Tensor offsets = at::arange(0, ids.numel(), ids.size(1), at::kLong);
  return std::get<0>(at::embedding_bag(table, ids.flatten(), offsets, /*scale_grad_by_freq=*/false,
                                       kSum, /*sparse=*/false, factors.flatten()));
}

}  // namespace

// PEER (He 2024, Algorithm 1): experts of one neuron each.
at::Tensor Forward(Pass& pass, const nn::PeerPlan& plan, const at::Tensor& u) {
  const at::Tensor x = plan.norm.has_value() ? Normed(pass, *plan.norm, u) : u;
  const Retrieved retrieved = Retrieve(pass, plan.router, x);
  const at::Tensor ids = retrieved.ids.flatten(1), weights = retrieved.weights.flatten(1);
  const auto products = [&](const nn::PlannedTensor& table) {  // [tokens, picks]
    const at::Tensor rows = pass.parameters.Get(table.name)
                                .index_select(0, ids.flatten())
                                .view({ids.size(0), ids.size(1), -1});
    return at::bmm(rows, x.unsqueeze(-1)).squeeze(-1);
  };
  at::Tensor hidden = products(plan.down);
  hidden = plan.gate.has_value() ? Activated(plan.config.activation, products(*plan.gate)) * hidden
                                 : Activated(plan.config.activation, hidden);
  return WeightedRows(pass.parameters.Get(plan.up.name), ids, weights * hidden);
}

at::Tensor Forward(Pass& pass, const nn::ProductKeyMemoryPlan& plan, const at::Tensor& u) {
  const Retrieved retrieved = Retrieve(pass, plan.router, u);
  return WeightedRows(pass.parameters.Get(plan.values.name), retrieved.ids.flatten(1),
                      retrieved.weights.flatten(1));
}

}  // namespace peerage::train
