#include "model/config/expert_layers.h"

#include <utility>

namespace peerage {
namespace {

ExpertLayer Of(const ProductKeyConfig& config, ExpertLayerKind kind) {
  return {.kind = kind,
          .num_experts = static_cast<uint32_t>(config.table_rows()),
          .heads = static_cast<uint32_t>(config.heads),
          .top_k = static_cast<uint32_t>(config.top_k)};
}

ExpertLayer Of(const MixtureConfig& config, ExpertLayerKind kind) {
  return {.kind = kind,
          .num_experts = static_cast<uint32_t>(config.num_experts),
          .heads = 1,
          .top_k = static_cast<uint32_t>(config.top_k),
          .expert_names = config.expert_names};
}

std::vector<ExpertLayer> ExpertsOf(const LayerConfig& layer) {
  std::vector<ExpertLayer> experts;
  if (layer.attention.kind == AttentionKind::kMixture) {
    experts.push_back(Of(layer.attention.mixture, ExpertLayerKind::kMixtureAttention));
  }
  for (const FfnConfig& ffn : layer.ffn) {
    switch (ffn.kind) {
      case FfnKind::kDense:
        break;
      case FfnKind::kMixture:
        experts.push_back(Of(ffn.mixture, ExpertLayerKind::kMixtureFfn));
        break;
      case FfnKind::kPeer:
        experts.push_back(Of(ffn.product_keys, ExpertLayerKind::kPeer));
        break;
      case FfnKind::kProductKeyMemory:
        experts.push_back(Of(ffn.product_keys, ExpertLayerKind::kProductKeyMemory));
        break;
    }
  }
  return experts;
}

}  // namespace

std::vector<ExpertLayer> ExpertLayersOf(const ModelConfig& config) {
  std::vector<ExpertLayer> layers;
  for (size_t i = 0; i < config.layers.size(); ++i) {
    for (ExpertLayer& experts : ExpertsOf(config.layers[i])) {
      experts.layer = static_cast<uint32_t>(i);
      layers.push_back(std::move(experts));
    }
  }
  return layers;
}

}  // namespace peerage
