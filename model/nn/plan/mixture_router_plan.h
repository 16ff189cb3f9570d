#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "model/nn/plan/part.h"

namespace peerage::nn {

// The router of a mixture: one row an expert, of which each token keeps the top k.
struct MixtureRouterPlan {
  // `num_experts` rows, which may be more than the config's experts.
  MixtureRouterPlan(const MixtureConfig& config, int num_experts, const PartPlace& place);

  PlannedTensor weight;  // [experts, hidden]
  int top_k = 0;
  bool normalize = false;  // the kept gates are divided by their sum
  std::vector<std::string> expert_names;

  int num_experts() const { return static_cast<int>(weight.shape[0]); }
  int idle_experts() const { return num_experts() - top_k; }

  ExpertLayer AsExpertLayer(ExpertLayerKind kind) const;
  uint64_t Flops() const { return uint64_t{2} * weight.shape[0] * weight.shape[1]; }

  // "mixture of 4 experts, top 2 renormalised", and ": "base", "law"" for the end of a line.
  std::string Text() const;
  std::string NamesText() const;

  int layer = 0;
  int expert_layer = 0;  // index among the model's expert layers
};

}  // namespace peerage::nn
