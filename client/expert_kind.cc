#include "client/expert_kind.h"

namespace peerage::client {

std::string ExpertKindName(v1::ExpertLayerKind kind) {
  switch (kind) {
    case v1::EXPERT_LAYER_KIND_PEER:
      return "peer";
    case v1::EXPERT_LAYER_KIND_PRODUCT_KEY_MEMORY:
      return "pkm";
    case v1::EXPERT_LAYER_KIND_MIXTURE_FFN:
      return "mixture_ffn";
    case v1::EXPERT_LAYER_KIND_MIXTURE_ATTENTION:
      return "mixture_attention";
    default:
      return "unknown";
  }
}

v1::ExpertLayerKind ParseExpertKind(const std::string& name) {
  for (int value = v1::ExpertLayerKind_MIN; value <= v1::ExpertLayerKind_MAX; ++value) {
    const auto kind = static_cast<v1::ExpertLayerKind>(value);
    if (kind != v1::EXPERT_LAYER_KIND_UNSPECIFIED && ExpertKindName(kind) == name) return kind;
  }
  return v1::EXPERT_LAYER_KIND_UNSPECIFIED;
}

bool IsMixture(v1::ExpertLayerKind kind) {
  return kind == v1::EXPERT_LAYER_KIND_MIXTURE_FFN ||
         kind == v1::EXPERT_LAYER_KIND_MIXTURE_ATTENTION;
}

}  // namespace peerage::client
