#include "model/checkpoint/config/config_limits.h"

#include "absl/strings/str_cat.h"

namespace peerage {

absl::Status CheckHeads(const ModelConfig& config, const HeadKeys& keys) {
  if (config.num_heads % config.num_kv_heads != 0) {
    return absl::InvalidArgumentError(absl::StrCat(keys.num_kv_heads, " is ", config.num_kv_heads,
                                                   ", not a divisor of ", keys.num_heads, " ",
                                                   config.num_heads));
  }
  if (config.head_dim % 2 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(keys.head_dim, " is ", config.head_dim, ", not an even number"));
  }
  return absl::OkStatus();
}

absl::Status CheckGatingResiduals(const ModelConfig& config) {
  const MixtureFfnConfig* first = nullptr;
  for (size_t i = 0; i < config.layers.size(); ++i) {
    for (const FfnConfig& part : config.layers[i].ffn) {
      const auto* ffn = std::get_if<MixtureFfnConfig>(&part);
      if (ffn == nullptr || !ffn->gating_residual) continue;
      if (first == nullptr) first = ffn;
      if (ffn->total_experts() == first->total_experts()) continue;
      return absl::InvalidArgumentError(absl::StrCat(
          "layers[", i, "] has gating_residual and ", ffn->total_experts(),
          " experts, an earlier layer with gating_residual has ", first->total_experts()));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckMixtureExperts(const ModelConfig& config) {
  int64_t experts = 0;
  for (const LayerConfig& layer : config.layers) {
    experts += layer.attention.mixture.num_experts;
    for (const FfnConfig& part : layer.ffn) {
      if (const auto* ffn = std::get_if<MixtureFfnConfig>(&part)) {
        experts += ffn->total_experts();
      }
    }
  }
  if (experts <= kMaxMixtureExperts) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("the mixtures of all layers have ", experts,
                                                 " experts, more than ", kMaxMixtureExperts));
}

}  // namespace peerage
