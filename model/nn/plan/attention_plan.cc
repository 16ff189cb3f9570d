#include "model/nn/plan/attention_plan.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"

namespace peerage::nn {

using nlohmann::ordered_json;

AttentionPlan::AttentionPlan(const PartPlace& place)
    : heads(place.model.num_heads),
      kv_heads(place.model.num_kv_heads),
      head_dim(place.model.head_dim),
      hidden_size(place.model.hidden_size),
      rotary{.dim = place.model.head_dim,
             .theta = place.model.rope_theta,
             .interleaved = place.model.rope_interleaved},
      prefix_(place.prefix) {
  const std::vector<PlannedTensor> tensors = Tensors();
  qkv = Rows({tensors[0], tensors[1], tensors[2]});
  output = Rows({tensors[3]});
}

std::vector<PlannedTensor> AttentionPlan::Tensors() const {
  const int64_t query_rows = int64_t{heads} * head_dim, key_rows = int64_t{kv_heads} * head_dim;
  return {{prefix_ + "q_proj.weight", {query_rows, hidden_size}},
          {prefix_ + "k_proj.weight", {key_rows, hidden_size}},
          {prefix_ + "v_proj.weight", {key_rows, hidden_size}},
          {prefix_ + "o_proj.weight", {hidden_size, query_rows}}};
}

uint64_t AttentionPlan::Flops(int64_t context) const {
  const int64_t query = int64_t{heads} * head_dim, key = int64_t{kv_heads} * head_dim;
  return int64_t{2} * hidden_size * (2 * query + 2 * key) + 2 * context * query;
}

BufferWidths AttentionPlan::Buffers() const {
  const size_t query = size_t(heads) * head_dim;
  return {.qkv = query + KvValues(), .attended = query, .input = query};
}

ordered_json AttentionPlan::Fields() const { return "dense"; }

MixtureAttentionPlan::MixtureAttentionPlan(const AttentionConfig& config, const PartPlace& place)
    : router(config.mixture, config.mixture.num_experts, place),
      wide(place),
      prefix_(place.prefix),
      shared_kv_(config.kv == MixtureKv::kShared),
      expert_heads_(place.model.num_heads),
      expert_kv_heads_(place.model.num_kv_heads) {
  wide.heads = config.num_experts() * expert_heads_;
  wide.kv_heads = config.num_kv_experts() * expert_kv_heads_;
  wide.qkv = {};
  wide.output = {.slices = {}, .join = Join::kColumns};
  for (const HeadRange& range : HeadOrder()) {
    const int64_t first = int64_t{range.first} * wide.head_dim;
    const int64_t count = int64_t{range.count} * wide.head_dim;
    wide.qkv.slices.push_back({Expert(range.expert) + "q_proj.weight", first, count});
    wide.output.slices.push_back({Expert(range.expert) + "o_proj.weight", first, count});
    expert_of_head.insert(expert_of_head.end(), range.count, range.expert);
  }
  for (const char* name : {"k_proj.weight", "v_proj.weight"}) {
    for (int e = 0; e < config.num_kv_experts(); ++e) {
      const std::string owner = shared_kv_ ? prefix_ : Expert(e);
      wide.qkv.slices.push_back({owner + name, 0, key_rows()});
    }
  }
}

std::vector<MixtureAttentionPlan::HeadRange> MixtureAttentionPlan::HeadOrder() const {
  const int groups = shared_kv_ ? expert_kv_heads_ : 1;
  const int count = expert_heads_ / groups;
  std::vector<HeadRange> order;
  for (int group = 0; group < groups; ++group) {
    for (int expert = 0; expert < router.num_experts(); ++expert) {
      order.push_back({expert, group * count, count});
    }
  }
  return order;
}

std::string MixtureAttentionPlan::Expert(int expert) const {
  return absl::StrCat(prefix_, "experts.", expert, ".");
}

std::vector<PlannedTensor> MixtureAttentionPlan::Tensors() const {
  const int64_t hidden = wide.hidden_size;
  std::vector<PlannedTensor> tensors = {router.weight};
  const auto add_keys_and_values = [&](const std::string& owner) {
    tensors.push_back({owner + "k_proj.weight", {key_rows(), hidden}});
    tensors.push_back({owner + "v_proj.weight", {key_rows(), hidden}});
  };
  for (int e = 0; e < router.num_experts(); ++e) {
    tensors.push_back({Expert(e) + "q_proj.weight", {query_rows(), hidden}});
    if (!shared_kv_) add_keys_and_values(Expert(e));
    tensors.push_back({Expert(e) + "o_proj.weight", {hidden, query_rows()}});
  }
  if (shared_kv_) add_keys_and_values(prefix_);
  return tensors;
}

std::vector<ExpertLayer> MixtureAttentionPlan::ExpertLayers() const {
  return {router.AsExpertLayer(ExpertLayerKind::kMixtureAttention)};
}

uint64_t MixtureAttentionPlan::IdleParameters() const {
  return uint64_t{2} * router.idle_experts() * query_rows() * wide.hidden_size;
}

uint64_t MixtureAttentionPlan::Flops(int64_t context) const {
  const int64_t selected = router.top_k * query_rows();
  const int64_t keys = int64_t{wide.kv_heads} * wide.head_dim;
  return router.Flops() + int64_t{2} * wide.hidden_size * (2 * selected + 2 * keys) +
         2 * context * selected;
}

BufferWidths MixtureAttentionPlan::Buffers() const {
  BufferWidths widths = wide.Buffers();
  widths.gates = router.num_experts();
  widths.head_gates = wide.heads;
  return widths;
}

std::string MixtureAttentionPlan::Text() const {
  return absl::StrCat(router.Text(), shared_kv_ ? ", shared KV" : ", own KV", router.NamesText());
}

ordered_json MixtureAttentionPlan::Fields() const {
  return {{"kind", "mixture"},
          {"num_experts", router.num_experts()},
          {"kv", shared_kv_ ? "shared" : "expert"},
          {"routing", router.idle_experts() == 0 ? "soft" : "top_k"},
          {"top_k", router.top_k},
          {"normalize_top_k", router.normalize},
          {"expert_names", router.expert_names}};
}

AnyAttentionPlan PlanAttention(const AttentionConfig& config, const PartPlace& place) {
  if (config.kind == AttentionKind::kDense) return AttentionPlan(place);
  return MixtureAttentionPlan(config, place);
}

}  // namespace peerage::nn
