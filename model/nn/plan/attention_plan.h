#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <variant>
#include <vector>

#include "model/nn/plan/mixture_router_plan.h"
#include "model/nn/plan/part.h"

namespace peerage::nn {

// Grouped-query attention (Ainslie et al. 2023) with rotary positions: one linear layer for
// queries, keys and values, one for the output.
struct AttentionPlan {
  AttentionPlan() = default;
  explicit AttentionPlan(const PartPlace& place);

  int heads = 0;
  int kv_heads = 0;
  int head_dim = 0;
  int hidden_size = 0;
  RotaryPlan rotary;
  MatrixSource qkv;     // query, key and value rows, in this order
  MatrixSource output;  // W_o

  std::vector<PlannedTensor> Tensors() const;
  std::vector<ExpertLayer> ExpertLayers() const { return {}; }
  uint64_t IdleParameters() const { return 0; }
  uint64_t Flops(int64_t context) const;
  BufferWidths Buffers() const;
  std::string Text() const { return "dense"; }
  nlohmann::ordered_json Fields() const;

  // Keys and values that one token leaves in the cache.
  uint64_t KvValues() const { return uint64_t{2} * kv_heads * head_dim; }
  int HeadDim() const { return head_dim; }

 private:
  std::string prefix_;
};

// A mixture of whole attention layers (BAM, Zhang et al. 2024), computed as one wide attention: the
// heads of all experts side by side, ordered so that those of one KV head are neighbours (expert by
// expert, or with shared keys and values KV head by KV head).
struct MixtureAttentionPlan {
  MixtureAttentionPlan(const AttentionConfig& config, const PartPlace& place);

  MixtureRouterPlan router;
  AttentionPlan wide;
  std::vector<int> expert_of_head;  // [heads of all experts]

  std::vector<PlannedTensor> Tensors() const;
  std::vector<ExpertLayer> ExpertLayers() const;
  // Keys and values of every expert are computed for every token, whoever attends to them; queries
  // and outputs of experts that are not selected are idle.
  uint64_t IdleParameters() const;
  uint64_t Flops(int64_t context) const;
  BufferWidths Buffers() const;
  std::string Text() const;
  nlohmann::ordered_json Fields() const;
  uint64_t KvValues() const { return wide.KvValues(); }
  int HeadDim() const { return wide.head_dim; }

 private:
  // Neighbouring heads of one expert.
  struct HeadRange {
    int expert = 0;
    int first = 0;
    int count = 0;
  };
  std::vector<HeadRange> HeadOrder() const;
  std::string Expert(int expert) const;
  int64_t query_rows() const { return int64_t{expert_heads_} * wide.head_dim; }
  int64_t key_rows() const { return int64_t{expert_kv_heads_} * wide.head_dim; }

  std::string prefix_;
  bool shared_kv_ = false;
  int expert_heads_ = 0;  // of one expert
  int expert_kv_heads_ = 0;
};

using AnyAttentionPlan = std::variant<AttentionPlan, MixtureAttentionPlan>;
AnyAttentionPlan PlanAttention(const AttentionConfig& config, const PartPlace& place);

}  // namespace peerage::nn
