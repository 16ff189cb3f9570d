#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "model/checkpoint/config/parse_model_config.h"
#include "model/config/model_config.h"
#include "model/nn/plan/model_plan.h"

namespace {

// `most`: experts of which top_k may be picked.
bool InRange(const peerage::MixtureConfig& mixture, int most) {
  const std::set<std::string> names(mixture.expert_names.begin(), mixture.expert_names.end());
  return mixture.num_experts >= 1 && mixture.num_experts <= most && most <= 256 &&
         mixture.top_k >= 1 && mixture.top_k <= most && names.count("") == 0 &&
         names.size() == mixture.expert_names.size() &&
         (names.empty() || names.size() == static_cast<size_t>(mixture.num_experts));
}

bool InRange(const peerage::DenseFfnConfig& part) { return part.intermediate_size > 0; }

bool InRange(const peerage::MixtureFfnConfig& part) {
  return part.intermediate_size > 0 && part.zero_experts >= 0 && part.copy_experts >= 0 &&
         part.constant_experts >= 0 && InRange(part.mixture, part.total_experts());
}

bool InRange(const peerage::ProductKeyConfig& c) {
  const bool direct = c.keys == peerage::ProductKeys::kDirect;
  return c.num_sub_keys >= 2 && int64_t{c.num_sub_keys} * c.num_sub_keys == c.num_experts &&
         c.heads >= 1 && c.heads <= 32 && c.top_k >= 1 && c.top_k <= 128 &&
         c.top_k <= c.num_experts && c.table_rows() <= UINT32_MAX && c.key_dim % 2 == 0 &&
         (c.key_dim > 0) != direct && c.query_norm_eps > 0 && std::isfinite(c.query_norm_eps);
}

bool InRange(const peerage::PeerConfig& part) { return InRange(part.keys); }
bool InRange(const peerage::ProductKeyMemoryConfig& part) { return InRange(part.keys); }

}  // namespace

// Every value of an accepted config is in range.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  std::vector<std::string> ignored;
  const auto config = peerage::ParseModelConfig(
      absl::string_view(reinterpret_cast<const char*>(bytes), size), &ignored);
  if (!config.ok()) return 0;
  const bool in_range = config->vocab_size > 0 && config->hidden_size > 0 && config->head_dim > 0 &&
                        config->head_dim % 2 == 0 && config->num_kv_heads > 0 &&
                        config->num_heads % config->num_kv_heads == 0 &&
                        config->max_positions > 0 && std::isfinite(config->norm_eps) &&
                        config->norm_eps > 0 && std::isfinite(config->rope_theta) &&
                        config->rope_theta > 0 && !config->layers.empty();
  if (!in_range) std::abort();
  for (const peerage::LayerConfig& layer : config->layers) {
    if (layer.ffn.empty()) std::abort();
    const bool mixed = layer.attention.kind == peerage::AttentionKind::kMixture;
    const peerage::MixtureConfig& mixture = layer.attention.mixture;
    if (mixed && !InRange(mixture, mixture.num_experts)) std::abort();
    for (const peerage::FfnConfig& part : layer.ffn) {
      if (!std::visit([](const auto& p) { return InRange(p); }, part)) std::abort();
    }
  }
  const peerage::nn::ModelPlan plan = peerage::nn::PlanModel(*config);
  const uint64_t active = plan.ActiveParameters();
  if (active == 0 || active > plan.Parameters()) std::abort();
  return 0;
}
