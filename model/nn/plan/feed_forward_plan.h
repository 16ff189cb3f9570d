#pragma once

#include <nlohmann/json_fwd.hpp>
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

// A mixture of gated feed-forward experts (BTX, Sukhbaatar et al. 2024; BAM, Zhang et al. 2024).
struct MixtureFfnPlan {
  MixtureFfnPlan(const MixtureFfnConfig& config, const PartPlace& place);

  MixtureRouterPlan router;
  std::vector<DenseFfnPlan> experts;

  std::vector<PlannedTensor> Tensors() const;
  std::vector<ExpertLayer> ExpertLayers() const;
  uint64_t IdleParameters() const;
  uint64_t Flops(int64_t context) const;
  BufferWidths Buffers() const;
  std::string Text() const;
  nlohmann::ordered_json Fields() const;
};

}  // namespace peerage::nn
