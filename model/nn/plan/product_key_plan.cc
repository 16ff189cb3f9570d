#include "model/nn/plan/product_key_plan.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/number_text.h"
#include "model/config/choices.h"

namespace peerage::nn {

using nlohmann::ordered_json;

namespace {

std::optional<QueryNormPlan> PlanQueryNorm(const ProductKeyConfig& config,
                                           const std::string& prefix) {
  if (config.query_norm == QueryNorm::kNone) return std::nullopt;
  const bool batch = config.query_norm == QueryNorm::kBatch;
  const int64_t width = batch ? int64_t{config.heads} * config.key_dim : config.key_dim;
  const auto tensor = [&](const char* name, TensorRole role) {
    return PlannedTensor{prefix + "query_norm." + name, {width}, role};
  };
  QueryNormPlan norm{.epsilon = config.query_norm_eps,
                     .weight = tensor("weight", TensorRole::kRouter),
                     .bias = tensor("bias", TensorRole::kRouter)};
  if (batch) {
    norm.running = {.mean = tensor("running_mean", TensorRole::kRouter),
                    .variance = tensor("running_var", TensorRole::kVariance)};
  }
  return norm;
}

// x / max(|x|, 1e-12) sqrt(d) is an RMSNorm whose epsilon only keeps zeros from becoming NaN.
float EpsilonOf(PeerNorm norm, const ModelConfig& model) {
  return norm == PeerNorm::kRms ? model.norm_eps : 1e-24f / static_cast<float>(model.hidden_size);
}

}  // namespace

ProductKeyRouterPlan::ProductKeyRouterPlan(const ProductKeyConfig& config, const PartPlace& place)
    : config(config),
      hidden_size(place.model.hidden_size),
      layer(place.layer),
      expert_layer(place.expert_layer) {
  const int64_t heads = config.heads, n = config.num_sub_keys, key_dim = config.key_dim;
  const bool direct = config.keys == ProductKeys::kDirect;
  const std::string name = place.prefix + (direct ? "router." : "query.");
  std::vector<int64_t> shape = {heads * key_dim, hidden_size};
  if (direct) shape = {heads, 2, n, hidden_size};
  query = {name + "weight", shape, TensorRole::kRouter};
  if (config.query_bias) {
    shape.pop_back();
    bias = {name + "bias", shape, TensorRole::kRouter};
  }
  if (direct) return;
  norm = PlanQueryNorm(config, place.prefix);
  shape = {2, n, key_dim / 2};
  if (config.keys == ProductKeys::kPerHead) shape.insert(shape.begin(), heads);
  sub_keys = {place.prefix + "sub_keys", shape, TensorRole::kRouter};
}

std::vector<PlannedTensor> ProductKeyRouterPlan::Tensors() const {
  std::vector<PlannedTensor> tensors = {query};
  if (bias.has_value()) tensors.push_back(*bias);
  if (norm.has_value()) {
    tensors.push_back(norm->weight);
    tensors.push_back(norm->bias);
    if (norm->running.has_value()) {
      tensors.push_back(norm->running->mean);
      tensors.push_back(norm->running->variance);
    }
  }
  if (sub_keys.has_value()) tensors.push_back(*sub_keys);
  return tensors;
}

ExpertLayer ProductKeyRouterPlan::AsExpertLayer(ExpertLayerKind kind) const {
  return {.layer = static_cast<uint32_t>(layer),
          .kind = kind,
          .num_experts = static_cast<uint32_t>(config.table_rows()),
          .heads = static_cast<uint32_t>(config.heads),
          .top_k = static_cast<uint32_t>(config.top_k),
          .expert_sets = static_cast<uint32_t>(config.per_head_experts ? config.heads : 1),
          .num_sub_keys = static_cast<uint32_t>(config.num_sub_keys)};
}

uint64_t ProductKeyRouterPlan::Flops() const {
  const int64_t heads = config.heads, n = config.num_sub_keys;
  if (!sub_keys.has_value()) return 2 * heads * 2 * n * hidden_size;
  const int64_t queries = 2 * heads * hidden_size * config.key_dim;
  const int64_t scores = 2 * heads * n * config.key_dim;  // both halves
  return queries + scores;
}

BufferWidths ProductKeyRouterPlan::Buffers() const {
  const size_t heads = config.heads;
  const size_t query_width = sub_keys.has_value() ? config.key_dim : 2 * config.num_sub_keys;
  return {.queries = heads * query_width, .head_sums = heads * hidden_size};
}

std::string ProductKeyRouterPlan::Text() const {
  const ProductKeyConfig defaults;
  std::string text = absl::StrCat(FormatWhole(config.num_experts), " experts",
                                  config.per_head_experts ? " for each head" : "", ", ",
                                  config.heads, config.heads == 1 ? " head" : " heads", " x top ",
                                  config.top_k, ", keys ", ChoiceName(kProductKeys, config.keys));
  if (sub_keys.has_value()) absl::StrAppend(&text, ", key_dim ", config.key_dim);
  absl::StrAppend(&text, ", score ", ChoiceName(kRouterScores, config.score));
  if (config.query_bias) text += ", query_bias";
  if (config.query_norm != defaults.query_norm) {
    absl::StrAppend(&text, ", query_norm ", ChoiceName(kQueryNorms, config.query_norm));
  }
  if (config.query_norm_eps != defaults.query_norm_eps) {
    absl::StrAppend(&text, ", query_norm_eps ", config.query_norm_eps);
  }
  return text;
}

ordered_json ProductKeyRouterPlan::Fields() const {
  return {{"num_experts", config.num_experts},
          {"heads", config.heads},
          {"top_k", config.top_k},
          {"key_dim", config.key_dim},
          {"keys", ChoiceName(kProductKeys, config.keys)},
          {"experts", ChoiceName(kPerHeadExperts, config.per_head_experts)},
          {"query_bias", config.query_bias},
          {"query_norm", ChoiceName(kQueryNorms, config.query_norm)},
          {"query_norm_eps", ShortestDecimal(config.query_norm_eps)},
          {"score", ChoiceName(kRouterScores, config.score)}};
}

PeerPlan::PeerPlan(const PeerConfig& config, const PartPlace& place)
    : config(config), router(config.keys, place) {
  if (config.norm != PeerNorm::kNone) {
    norm = NormPlan{.type = NormType::kRmsNorm,
                    .epsilon = EpsilonOf(config.norm, place.model),
                    .width = place.model.hidden_size,
                    .weight = place.prefix + "norm.weight"};
  }
  const std::vector<int64_t> shape = {config.keys.table_rows(), place.model.hidden_size};
  down = {place.prefix + "down.weight", shape, TensorRole::kTable};
  up = {place.prefix + "up.weight", shape, TensorRole::kTable};
  if (config.glu) gate = {place.prefix + "gate.weight", shape, TensorRole::kTable};
}

std::vector<PlannedTensor> PeerPlan::Tensors() const {
  std::vector<PlannedTensor> tensors = router.Tensors();
  if (norm.has_value()) tensors.insert(tensors.begin(), norm->Tensor());
  tensors.push_back(down);
  tensors.push_back(up);
  if (gate.has_value()) tensors.push_back(*gate);
  return tensors;
}

std::vector<ExpertLayer> PeerPlan::ExpertLayers() const {
  return {router.AsExpertLayer(ExpertLayerKind::kPeer)};
}

uint64_t PeerPlan::IdleParameters() const {
  return router.idle_rows() * vectors() * router.hidden_size;
}

uint64_t PeerPlan::Flops(int64_t context) const {
  const uint64_t picks = uint64_t(config.keys.heads) * config.keys.top_k;
  return router.Flops() + 2 * picks * vectors() * router.hidden_size;
}

BufferWidths PeerPlan::Buffers() const {
  BufferWidths widths = router.Buffers();
  if (norm.has_value()) widths.expert_input = router.hidden_size;
  return widths;
}

std::string PeerPlan::Text() const {
  std::string text = absl::StrCat("peer of ", router.Text(), ", activation ",
                                  ChoiceName(kActivations, config.activation));
  if (config.glu) text += ", glu";
  if (norm.has_value()) text += ", pre_rmsnorm";
  if (config.layout != PeerLayout::kPeerage) {
    absl::StrAppend(&text, ", layout ", ChoiceName(kPeerLayouts, config.layout));
  }
  return text;
}

ordered_json PeerPlan::Fields() const {
  ordered_json fields = {{"kind", "peer"}};
  fields.update(router.Fields());
  fields["activation"] = ChoiceName(kActivations, config.activation);
  fields["glu"] = config.glu;
  fields["pre_rmsnorm"] = norm.has_value();
  fields["layout"] = ChoiceName(kPeerLayouts, config.layout);
  return fields;
}

ProductKeyMemoryPlan::ProductKeyMemoryPlan(const ProductKeyMemoryConfig& config,
                                           const PartPlace& place)
    : router(config.keys, place),
      values{place.prefix + "values.weight",
             {config.keys.table_rows(), place.model.hidden_size},
             TensorRole::kTable} {}

std::vector<PlannedTensor> ProductKeyMemoryPlan::Tensors() const {
  std::vector<PlannedTensor> tensors = router.Tensors();
  tensors.push_back(values);
  return tensors;
}

std::vector<ExpertLayer> ProductKeyMemoryPlan::ExpertLayers() const {
  return {router.AsExpertLayer(ExpertLayerKind::kProductKeyMemory)};
}

uint64_t ProductKeyMemoryPlan::IdleParameters() const {
  return router.idle_rows() * router.hidden_size;
}

uint64_t ProductKeyMemoryPlan::Flops(int64_t context) const {
  const uint64_t picks = uint64_t(router.config.heads) * router.config.top_k;
  return router.Flops() + 2 * picks * router.hidden_size;
}

std::string ProductKeyMemoryPlan::Text() const { return absl::StrCat("pkm of ", router.Text()); }

ordered_json ProductKeyMemoryPlan::Fields() const {
  ordered_json fields = {{"kind", "pkm"}};
  fields.update(router.Fields());
  return fields;
}

}  // namespace peerage::nn
