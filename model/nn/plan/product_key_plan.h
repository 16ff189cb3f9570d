#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "model/nn/plan/part.h"

namespace peerage::nn {

// What a query goes through before it meets sub-keys.
struct QueryNormPlan {
  float epsilon = 0;
  PlannedTensor weight;
  PlannedTensor bias;
  // Of a batch norm, which is folded into the query's matrix and bias; absent: a layer norm of each
  // head's query.
  struct Running {
    PlannedTensor mean;
    PlannedTensor variance;
  };
  std::optional<Running> running;
};

// Finds experts by product keys (Lample et al. 2019; He 2024, section 2.1).
struct ProductKeyRouterPlan {
  ProductKeyRouterPlan(const ProductKeyConfig& config, const PartPlace& place);

  ProductKeyConfig config;
  PlannedTensor query;                    // direct keys: the scores of both halves of every head
  std::optional<PlannedTensor> bias;      // of `query`
  std::optional<QueryNormPlan> norm;      // of the query
  std::optional<PlannedTensor> sub_keys;  // absent: direct keys

  std::vector<PlannedTensor> Tensors() const;
  ExpertLayer AsExpertLayer(ExpertLayerKind kind) const;
  // Experts that one token cannot meet.
  int64_t idle_rows() const { return config.table_rows() - config.selected_rows(); }
  uint64_t Flops() const;
  BufferWidths Buffers() const;
  // What decides, and what differs from the defaults of the format, in the words of config.json.
  std::string Text() const;
  nlohmann::ordered_json Fields() const;

  int hidden_size = 0;
  int layer = 0;
  int expert_layer = 0;  // index among the model's expert layers
};

// Parameter-efficient expert retrieval (He 2024, Algorithm 1): experts of one neuron each.
struct PeerPlan {
  PeerPlan(const PeerConfig& config, const PartPlace& place);

  PeerConfig config;
  std::optional<NormPlan> norm;  // of what query and experts read
  ProductKeyRouterPlan router;
  PlannedTensor down;  // [experts, hidden]
  PlannedTensor up;
  std::optional<PlannedTensor> gate;

  std::vector<PlannedTensor> Tensors() const;
  std::vector<ExpertLayer> ExpertLayers() const;
  uint64_t IdleParameters() const;
  uint64_t Flops(int64_t context) const;
  BufferWidths Buffers() const;
  std::string Text() const;
  nlohmann::ordered_json Fields() const;

 private:
  int vectors() const { return gate.has_value() ? 3 : 2; }  // of an expert
};

// Product-key memory (Lample et al. 2019): values found by product keys.
struct ProductKeyMemoryPlan {
  ProductKeyMemoryPlan(const ProductKeyMemoryConfig& config, const PartPlace& place);

  ProductKeyRouterPlan router;
  PlannedTensor values;  // [values, hidden]

  std::vector<PlannedTensor> Tensors() const;
  std::vector<ExpertLayer> ExpertLayers() const;
  uint64_t IdleParameters() const;
  uint64_t Flops(int64_t context) const;
  BufferWidths Buffers() const { return router.Buffers(); }
  std::string Text() const;
  nlohmann::ordered_json Fields() const;
};

}  // namespace peerage::nn
