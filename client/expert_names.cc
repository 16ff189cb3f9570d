#include "client/expert_names.h"

#include "absl/strings/str_cat.h"
#include "client/format.h"

namespace peerage::client {

ExpertNames::ExpertNames(const v1::ListModelsResponse& response) {
  for (const v1::Model& model : response.models()) {
    for (const v1::ExpertLayer& layer : model.expert_layers()) {
      const auto& names = layer.expert_names();
      names_[{layer.layer(), layer.kind()}].assign(names.begin(), names.end());
    }
  }
}

std::string ExpertNames::Of(uint32_t layer, v1::ExpertLayerKind kind, uint32_t id) const {
  const std::string name = Exact(layer, kind, id);
  return name.empty() ? absl::StrCat(id) : EscapeText(name);
}

std::vector<std::string> ExpertNames::OfAll(const ExpertUsage& usage) const {
  std::vector<std::string> names(usage.selections.size());
  for (uint32_t id = 0; id < names.size(); ++id) {
    names[id] = Of(usage.header.layer(), usage.header.kind(), id);
  }
  return names;
}

std::string ExpertNames::Exact(uint32_t layer, v1::ExpertLayerKind kind, uint32_t id) const {
  const auto found = names_.find({layer, kind});
  return found == names_.end() || id >= found->second.size() ? "" : found->second[id];
}

}  // namespace peerage::client
