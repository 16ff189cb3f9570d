#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "model/nn/plan/mixture_router_plan.h"
#include "model/nn/plan/part.h"

namespace peerage::nn {

// Gated feed-forward (Shazeer 2020): W_down (act(W_gate u) * (W_up u)).
struct DenseFfnPlan {
  // `place.prefix` is that of the tensors: "model.layers.0.ffn.dense.".
  DenseFfnPlan(const DenseFfnConfig& config, const PartPlace& place);

  int intermediate_size = 0;
  int hidden_size = 0;
  Activation activation = Activation::kSilu;
  MatrixSource gate_up;  // gate rows, then up rows
  MatrixSource down;

  std::vector<PlannedTensor> Tensors() const;
  std::vector<ExpertLayer> ExpertLayers() const { return {}; }
  uint64_t IdleParameters() const { return 0; }
  uint64_t Parameters() const { return uint64_t{3} * intermediate_size * hidden_size; }
  uint64_t Flops(int64_t context) const { return 2 * Parameters(); }
  BufferWidths Buffers() const;
  std::string Text() const;
  nlohmann::ordered_json Fields() const;

 private:
  std::string prefix_;
};

// An expert that gives a1 u + a2 v, where (a1, a2) = softmax(weight u) (MoE++, Jin et al. 2024,
// section 3.2: the constant expert).
struct ConstantExpertPlan {
  PlannedTensor weight;  // [2, hidden]
  PlannedTensor vector;  // v [hidden]
};

// A mixture of gated feed-forward experts (BTX, Sukhbaatar et al. 2024; BAM, Zhang et al. 2024),
// and of zero, copy and constant experts (MoE++). Ids are in this order.
struct MixtureFfnPlan {
  MixtureFfnPlan(const MixtureFfnConfig& config, const PartPlace& place);

  MixtureRouterPlan router;
  std::vector<DenseFfnPlan> experts;
  int zero_experts = 0;
  int copy_experts = 0;
  std::vector<ConstantExpertPlan> constants;
  // Whether the logits reach the next layer with a gating residual, and the map [experts, experts]
  // of the previous one's, which the first such layer has not: logits = W u + W_g previous.
  bool gating_residual = false;
  std::optional<PlannedTensor> residual;

  std::vector<PlannedTensor> Tensors() const;
  std::vector<ExpertLayer> ExpertLayers() const;
  // Of a token that picks as many feed-forward experts as it can, and constant experts then.
  uint64_t IdleParameters() const;
  uint64_t Flops(int64_t context) const;
  BufferWidths Buffers() const;
  std::string Text() const;
  nlohmann::ordered_json Fields() const;

 private:
  int selected_ffns() const;
  int selected_constants() const;
  uint64_t constant_parameters() const;  // of one
  // Names of all experts, of those that have none given after their kind; none where no kind needs
  // one.
  std::vector<std::string> ExpertNames() const;
};

}  // namespace peerage::nn
