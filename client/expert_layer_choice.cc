#include "client/expert_layer_choice.h"

#include <algorithm>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/expert_kind.h"
#include "client/format.h"

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
