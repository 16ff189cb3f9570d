#include "model/nn/plan/feed_forward_plan.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>
#include <variant>

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

namespace {

bool HasEarlierGatingResidual(const PartPlace& place) {
  for (int layer = 0; layer < place.layer; ++layer) {
    for (const FfnConfig& part : place.model.layers[layer].ffn) {
      const auto* ffn = std::get_if<MixtureFfnConfig>(&part);
      if (ffn != nullptr && ffn->gating_residual) return true;
    }
  }
  return false;
}

// "zero" of one expert of a kind, "zero-0", "zero-1" of several.
void AppendNames(const char* kind, int count, std::vector<std::string>& names) {
  for (int i = 0; i < count; ++i) {
    names.push_back(count == 1 ? kind : absl::StrCat(kind, "-", i));
  }
}

}  // namespace

MixtureFfnPlan::MixtureFfnPlan(const MixtureFfnConfig& config, const PartPlace& place)
    : router(config.mixture, config.total_experts(), place),
      zero_experts(config.zero_experts),
      copy_experts(config.copy_experts),
      gating_residual(config.gating_residual) {
  PartPlace expert = place;
  for (int e = 0; e < config.mixture.num_experts; ++e) {
    expert.prefix = absl::StrCat(place.prefix, "experts.", e, ".");
    experts.emplace_back(DenseFfnConfig{config.intermediate_size}, expert);
  }
  const int64_t hidden = place.model.hidden_size;
  for (int c = 0; c < config.constant_experts; ++c) {
    const std::string prefix = absl::StrCat(place.prefix, "constants.", c, ".");
    constants.push_back({{prefix + "weight", {2, hidden}, TensorRole::kRouter},
                         {prefix + "vector", {hidden}, TensorRole::kRouter}});
  }
  if (gating_residual && HasEarlierGatingResidual(place)) {
    const int64_t rows = config.total_experts();
    residual = {place.prefix + "router.residual.weight", {rows, rows}, TensorRole::kRouter};
  }
}

std::vector<PlannedTensor> MixtureFfnPlan::Tensors() const {
  std::vector<PlannedTensor> tensors = {router.weight};
  if (residual.has_value()) tensors.push_back(*residual);
  for (const DenseFfnPlan& expert : experts) {
    for (PlannedTensor& tensor : expert.Tensors()) tensors.push_back(std::move(tensor));
  }
  for (const ConstantExpertPlan& constant : constants) {
    tensors.push_back(constant.weight);
    tensors.push_back(constant.vector);
  }
  return tensors;
}

std::vector<std::string> MixtureFfnPlan::ExpertNames() const {
  if (router.num_experts() == static_cast<int>(experts.size())) return router.expert_names;
  std::vector<std::string> names = router.expert_names;
  if (names.empty()) AppendNames("ffn", static_cast<int>(experts.size()), names);
  AppendNames("zero", zero_experts, names);
  AppendNames("copy", copy_experts, names);
  AppendNames("constant", static_cast<int>(constants.size()), names);
  return names;
}

std::vector<ExpertLayer> MixtureFfnPlan::ExpertLayers() const {
  ExpertLayer layer = router.AsExpertLayer(ExpertLayerKind::kMixtureFfn);
  layer.expert_names = ExpertNames();
  return {layer};
}

int MixtureFfnPlan::selected_ffns() const {
  return std::min(router.top_k, static_cast<int>(experts.size()));
}

int MixtureFfnPlan::selected_constants() const {
  return std::min(router.top_k - selected_ffns(), static_cast<int>(constants.size()));
}

uint64_t MixtureFfnPlan::constant_parameters() const {
  return uint64_t{3} * router.weight.shape[1];
}

uint64_t MixtureFfnPlan::IdleParameters() const {
  return (experts.size() - selected_ffns()) * experts.front().Parameters() +
         (constants.size() - selected_constants()) * constant_parameters();
}

uint64_t MixtureFfnPlan::Flops(int64_t context) const {
  const uint64_t rows = router.num_experts(), hidden = router.weight.shape[1];
  return router.Flops() + (residual.has_value() ? 2 * rows * rows : 0) +
         selected_ffns() * experts.front().Flops(context) + 4 * hidden * selected_constants();
}

BufferWidths MixtureFfnPlan::Buffers() const {
  BufferWidths widths = experts.front().Buffers();
  widths.picked = router.top_k;
  widths.hidden *= selected_ffns();
  widths.input *= selected_ffns();
  widths.ffn_gates = router.num_experts() + 2 * constants.size();
  if (gating_residual) widths.kept_logits = router.num_experts();
  return widths;
}

std::string MixtureFfnPlan::Text() const {
  std::string text = absl::StrCat(router.Text(), ", each ", experts.front().Text());
  if (router.num_experts() > static_cast<int>(experts.size())) {
    text = absl::StrCat(router.Text(), ": ", experts.size(), " ", experts.front().Text(), ", ",
                        zero_experts, " zero, ", copy_experts, " copy, ", constants.size(),
                        " constant");
  }
  if (gating_residual) text += ", gating_residual";
  return text + router.NamesText();
}

ordered_json MixtureFfnPlan::Fields() const {
  return {{"kind", "mixture"},
          {"num_experts", experts.size()},
          {"zero_experts", zero_experts},
          {"copy_experts", copy_experts},
          {"constant_experts", constants.size()},
          {"gating_residual", gating_residual},
          {"top_k", router.top_k},
          {"normalize_top_k", router.normalize},
          {"intermediate_size", experts.front().intermediate_size},
          {"expert_names", router.expert_names}};
}

}  // namespace peerage::nn
