#include "server/rpc/request/expert_layer_kind.h"

namespace peerage {

v1::ExpertLayerKind ToProto(ExpertLayerKind kind) {
  switch (kind) {
    case ExpertLayerKind::kPeer:
      return v1::EXPERT_LAYER_KIND_PEER;
    case ExpertLayerKind::kProductKeyMemory:
      return v1::EXPERT_LAYER_KIND_PRODUCT_KEY_MEMORY;
    case ExpertLayerKind::kMixtureFfn:
      return v1::EXPERT_LAYER_KIND_MIXTURE_FFN;
    case ExpertLayerKind::kMixtureAttention:
      return v1::EXPERT_LAYER_KIND_MIXTURE_ATTENTION;
  }
  return v1::EXPERT_LAYER_KIND_UNSPECIFIED;
}

}  // namespace peerage
