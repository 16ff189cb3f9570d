#include "model/nn/plan/feed_forward_plan.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"

namespace peerage::nn {

using nlohmann::ordered_json;

DenseFfnPlan::DenseFfnPlan(const DenseFfnConfig& config, const PartPlace& place)
    : intermediate_size(config.intermediate_size),
      hidden_size(place.model.hidden_size),
      activation(place.model.activation),
      prefix_(place.prefix) {
  const std::vector<PlannedTensor> tensors = Tensors();
  gate_up = Rows({tensors[0], tensors[1]});
  down = Rows({tensors[2]});
}

std::vector<PlannedTensor> DenseFfnPlan::Tensors() const {
  return {{prefix_ + "gate_proj.weight", {intermediate_size, hidden_size}},
          {prefix_ + "up_proj.weight", {intermediate_size, hidden_size}},
          {prefix_ + "down_proj.weight", {hidden_size, intermediate_size}}};
}

BufferWidths DenseFfnPlan::Buffers() const {
  const size_t width = intermediate_size;
  return {.hidden = width, .input = std::max<size_t>(width, hidden_size)};
}

std::string DenseFfnPlan::Text() const { return absl::StrCat("dense ", intermediate_size); }

ordered_json DenseFfnPlan::Fields() const {
  return {{"kind", "dense"}, {"intermediate_size", intermediate_size}};
}

MixtureFfnPlan::MixtureFfnPlan(const MixtureFfnConfig& config, const PartPlace& place)
    : router(config.mixture, place) {
  PartPlace expert = place;
  for (int e = 0; e < config.mixture.num_experts; ++e) {
    expert.prefix = absl::StrCat(place.prefix, "experts.", e, ".");
    experts.emplace_back(DenseFfnConfig{config.intermediate_size}, expert);
  }
}

std::vector<PlannedTensor> MixtureFfnPlan::Tensors() const {
  std::vector<PlannedTensor> tensors = {router.weight};
  for (const DenseFfnPlan& expert : experts) {
    for (PlannedTensor& tensor : expert.Tensors()) tensors.push_back(std::move(tensor));
  }
  return tensors;
}

std::vector<ExpertLayer> MixtureFfnPlan::ExpertLayers() const {
  return {router.AsExpertLayer(ExpertLayerKind::kMixtureFfn)};
}

uint64_t MixtureFfnPlan::IdleParameters() const {
  return router.idle_experts() * experts.front().Parameters();
}

uint64_t MixtureFfnPlan::Flops(int64_t context) const {
  return router.Flops() + router.top_k * experts.front().Flops(context);
}

BufferWidths MixtureFfnPlan::Buffers() const {
  BufferWidths widths = experts.front().Buffers();
  widths.picked = router.top_k;
  widths.hidden *= widths.picked;
  widths.input *= widths.picked;
  widths.gates = router.num_experts();
  return widths;
}

std::string MixtureFfnPlan::Text() const {
  return absl::StrCat(router.Text(), ", each ", experts.front().Text(), router.NamesText());
}

ordered_json MixtureFfnPlan::Fields() const {
  return {{"kind", "mixture"},
          {"num_experts", router.num_experts()},
          {"top_k", router.top_k},
          {"normalize_top_k", router.normalize},
          {"intermediate_size", experts.front().intermediate_size},
          {"expert_names", router.expert_names}};
}

}  // namespace peerage::nn
