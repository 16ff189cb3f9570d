#include "model/expert_layers.h"

namespace peerage {
namespace {

bool HasExperts(FfnKind kind) {
  return kind == FfnKind::kPeer || kind == FfnKind::kProductKeyMemory;
}

ExpertLayerKind KindOf(FfnKind kind) {
  return kind == FfnKind::kPeer ? ExpertLayerKind::kPeer : ExpertLayerKind::kProductKeyMemory;
}

}  // namespace

std::vector<ExpertLayer> ExpertLayersOf(const ModelConfig& config) {
  std::vector<ExpertLayer> layers;
  for (size_t layer = 0; layer < config.layers.size(); ++layer) {
    for (const FfnConfig& ffn : config.layers[layer].ffn) {
      if (!HasExperts(ffn.kind)) continue;
      const ProductKeyConfig& keys = ffn.product_keys;
      layers.push_back({.layer = static_cast<uint32_t>(layer),
                        .kind = KindOf(ffn.kind),
                        .num_experts = static_cast<uint32_t>(keys.table_rows()),
                        .heads = static_cast<uint32_t>(keys.heads),
                        .top_k = static_cast<uint32_t>(keys.top_k)});
    }
  }
  return layers;
}

}  // namespace peerage
