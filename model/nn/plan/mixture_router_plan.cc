#include "model/nn/plan/mixture_router_plan.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error_text.h"

namespace peerage::nn {

MixtureRouterPlan::MixtureRouterPlan(const MixtureConfig& config, int num_experts,
                                     const PartPlace& place)
    : weight{place.prefix + "router.weight",
             {num_experts, place.model.hidden_size},
             TensorRole::kRouter},
      top_k(config.top_k),
      normalize(config.normalize_top_k),
      expert_names(config.expert_names),
      layer(place.layer),
      expert_layer(place.expert_layer) {}

ExpertLayer MixtureRouterPlan::AsExpertLayer(ExpertLayerKind kind) const {
  return {.layer = static_cast<uint32_t>(layer),
          .kind = kind,
          .num_experts = static_cast<uint32_t>(num_experts()),
          .heads = 1,
          .top_k = static_cast<uint32_t>(top_k),
          .expert_names = expert_names};
}

std::string MixtureRouterPlan::Text() const {
  std::string text = absl::StrCat("mixture of ", num_experts(), " experts, ");
  if (top_k == num_experts()) {
    text += "soft";
  } else {
    absl::StrAppend(&text, "top ", top_k, normalize ? " renormalised" : "");
  }
  return text;
}

std::string MixtureRouterPlan::NamesText() const {
  if (expert_names.empty()) return "";
  const auto quote = [](std::string* out, const std::string& name) {
    absl::StrAppend(out, Quoted(name));
  };
  return absl::StrCat(": ", absl::StrJoin(expert_names, ", ", quote));
}

}  // namespace peerage::nn
