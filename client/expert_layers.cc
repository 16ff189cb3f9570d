#include "client/expert_layers.h"

#include <algorithm>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/terminal_text.h"

namespace peerage::client {
namespace {

const v1::Model* FindModel(const v1::ListModelsResponse& models, const std::string& name) {
  for (const v1::Model& model : models.models()) {
    if (name.empty() || model.name() == name) return &model;
  }
  return nullptr;
}

// "0-7, 15"
std::string Ranges(const std::set<uint32_t>& layers) {
  std::vector<std::string> ranges;
  for (auto layer = layers.begin(); layer != layers.end();) {
    const uint32_t first = *layer;
    uint32_t last = first;
    while (++layer != layers.end() && *layer == last + 1) last = *layer;
    ranges.push_back(first == last ? absl::StrCat(first) : absl::StrCat(first, "-", last));
  }
  return absl::StrJoin(ranges, ", ");
}

std::string LayersWithExperts(const v1::Model& model) {
  std::set<uint32_t> layers;
  for (const v1::ExpertLayer& experts : model.expert_layers()) layers.insert(experts.layer());
  if (layers.empty()) return "the model has none";
  return absl::StrCat("those that have: ", Ranges(layers));
}

std::vector<v1::ExpertLayerKind> KindsOf(const v1::Model& model, uint32_t layer) {
  std::vector<v1::ExpertLayerKind> kinds;
  for (const v1::ExpertLayer& experts : model.expert_layers()) {
    if (experts.layer() == layer) kinds.push_back(experts.kind());
  }
  return kinds;
}

}  // namespace

std::string ExpertKindName(v1::ExpertLayerKind kind) {
  for (const auto& [name, value] : kExpertKinds) {
    if (value == kind) return std::string(name);
  }
  return "unknown";
}

v1::ExpertLayerKind ParseExpertKind(const std::string& name) {
  return FindChoice(kExpertKinds, name).value_or(v1::EXPERT_LAYER_KIND_UNSPECIFIED);
}

bool IsMixture(v1::ExpertLayerKind kind) {
  return kind == v1::EXPERT_LAYER_KIND_MIXTURE_FFN ||
         kind == v1::EXPERT_LAYER_KIND_MIXTURE_ATTENTION;
}

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

absl::StatusOr<v1::ExpertLayerKind> FindExpertKind(const v1::ListModelsResponse& models,
                                                   const ExpertLayerChoice& choice) {
  const v1::Model* model = FindModel(models, choice.model);
  if (model == nullptr) {
    return absl::NotFoundError(absl::StrCat("the server has no model ", QuoteText(choice.model)));
  }
  const std::vector<v1::ExpertLayerKind> kinds = KindsOf(*model, choice.layer);
  if (kinds.empty()) {
    return absl::NotFoundError(
        absl::StrCat("layer ", choice.layer, " has no experts; ", LayersWithExperts(*model)));
  }
  const bool named = choice.kind != v1::EXPERT_LAYER_KIND_UNSPECIFIED;
  if (!named && kinds.size() == 1) return kinds.front();
  if (named && std::count(kinds.begin(), kinds.end(), choice.kind) > 0) return choice.kind;
  const std::string has = absl::StrJoin(kinds, " and ", [](std::string* out, auto kind) {
    absl::StrAppend(out, ExpertKindName(kind));
  });
  if (!named) {
    return absl::InvalidArgumentError(
        absl::StrCat("layer ", choice.layer, " has ", has, ": choose with --kind"));
  }
  return absl::NotFoundError(absl::StrCat("layer ", choice.layer, " has no experts of kind ",
                                          ExpertKindName(choice.kind), "; it has ", has));
}

}  // namespace peerage::client
