#include "client/expert_names.h"

namespace peerage {

ExpertNames::ExpertNames(const v1::ListModelsResponse& response) {
  for (const v1::Model& model : response.models()) {
    for (const v1::ExpertLayer& layer : model.expert_layers()) {
      const auto& names = layer.expert_names();
      names_[{layer.layer(), layer.kind()}].assign(names.begin(), names.end());
    }
  }
}

std::string ExpertNames::Of(uint32_t layer, v1::ExpertLayerKind kind, uint32_t id) const {
  const auto found = names_.find({layer, kind});
  if (found == names_.end() || id >= found->second.size()) return std::to_string(id);
  return found->second[id];
}

}  // namespace peerage
