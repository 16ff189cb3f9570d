#include "model/nn/plan/model_plan.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "model/tensor_type.h"

namespace peerage::nn {
namespace {

// The plan of each kind of feed-forward part, and where its tensors are in a layer.
DenseFfnPlan PlanPart(const DenseFfnConfig& config, PartPlace place) {
  place.prefix += "ffn.dense.";
  return DenseFfnPlan(config, place);
}
MixtureFfnPlan PlanPart(const MixtureFfnConfig& config, PartPlace place) {
  place.prefix += "ffn.mixture.";
  return MixtureFfnPlan(config, place);
}
PeerPlan PlanPart(const PeerConfig& config, PartPlace place) {
  place.prefix += "ffn.peer.";
  return PeerPlan(config, place);
}
ProductKeyMemoryPlan PlanPart(const ProductKeyMemoryConfig& config, PartPlace place) {
  place.prefix += "ffn.pkm.";
  return ProductKeyMemoryPlan(config, place);
}

class Planner {
 public:
  explicit Planner(const ModelConfig& config) : config_(config) {}

  ModelPlan Plan() {
    ModelPlan plan{.vocab_size = config_.vocab_size,
                   .hidden_size = config_.hidden_size,
                   .max_positions = config_.max_positions};
    plan.embedding = {"model.embed_tokens.weight", {config_.vocab_size, config_.hidden_size}};
    for (size_t i = 0; i < config_.layers.size(); ++i) plan.blocks.push_back(PlanBlock(i));
    plan.final_norm = PlanNorm("model.norm.weight");
    if (!config_.tied_embeddings) {
      plan.head = {"lm_head.weight", {config_.vocab_size, config_.hidden_size}};
    }
    return plan;
  }

 private:
  template <typename Part>
  Part Counted(Part part) {
    expert_layers_ += static_cast<int>(part.ExpertLayers().size());
    return part;
  }

  BlockPlan PlanBlock(size_t layer) {
    const LayerConfig& config = config_.layers[layer];
    PartPlace place{.model = config_,
                    .prefix = absl::StrCat("model.layers.", layer, "."),
                    .layer = static_cast<int>(layer)};
    BlockPlan block{.input_norm = PlanNorm(place.prefix + "input_norm.weight"),
                    .attention = PlanAttentionAt(config.attention, place)};
    if (!config_.parallel_block) {
      block.post_attention_norm = PlanNorm(place.prefix + "post_attention_norm.weight");
    }
    for (const FfnConfig& ffn : config.ffn) {
      place.expert_layer = expert_layers_;
      block.ffn.push_back(std::visit(
          [&](const auto& part) -> FeedForwardPlan { return Counted(PlanPart(part, place)); },
          ffn));
    }
    return block;
  }

  AnyAttentionPlan PlanAttentionAt(const AttentionConfig& config, PartPlace place) {
    place.prefix += "attention.";
    place.expert_layer = expert_layers_;
    return std::visit([&](auto plan) -> AnyAttentionPlan { return Counted(std::move(plan)); },
                      PlanAttention(config, place));
  }

  NormPlan PlanNorm(std::string weight) const {
    return {.type = config_.norm_type,
            .epsilon = config_.norm_eps,
            .width = config_.hidden_size,
            .weight = std::move(weight)};
  }

  const ModelConfig& config_;
  int expert_layers_ = 0;  // planned so far
};

}  // namespace

uint64_t BlockPlan::Flops(int64_t context) const {
  uint64_t flops = 0;
  ForEachPart([&](const auto& part) { flops += part.Flops(context); });
  return flops;
}

uint64_t BlockPlan::KvValues() const {
  return std::visit([](const auto& part) { return part.KvValues(); }, attention);
}

int BlockPlan::HeadDim() const {
  return std::visit([](const auto& part) { return part.HeadDim(); }, attention);
}

std::vector<PlannedTensor> ModelPlan::Tensors() const {
  std::vector<PlannedTensor> tensors = {embedding};
  const auto add = [&](const auto& part) {
    for (PlannedTensor& tensor : part.Tensors()) tensors.push_back(std::move(tensor));
  };
  for (const BlockPlan& block : blocks) {
    tensors.push_back(block.input_norm.Tensor());
    std::visit(add, block.attention);
    if (block.post_attention_norm) tensors.push_back(block.post_attention_norm->Tensor());
    for (const FeedForwardPlan& part : block.ffn) std::visit(add, part);
  }
  tensors.push_back(final_norm.Tensor());
  if (head.has_value()) tensors.push_back(*head);
  return tensors;
}

std::vector<ExpertLayer> ModelPlan::ExpertLayers() const {
  std::vector<ExpertLayer> layers;
  for (const BlockPlan& block : blocks) {
    block.ForEachPart([&](const auto& part) {
      for (ExpertLayer& experts : part.ExpertLayers()) layers.push_back(std::move(experts));
    });
  }
  return layers;
}

uint64_t ModelPlan::Parameters() const {
  uint64_t parameters = 0;
  for (const PlannedTensor& tensor : Tensors()) parameters += Elements(tensor.shape);
  return parameters;
}

uint64_t ModelPlan::ActiveParameters() const {
  uint64_t active = Parameters();
  for (const BlockPlan& block : blocks) {
    block.ForEachPart([&](const auto& part) { active -= part.IdleParameters(); });
  }
  return active;
}

uint64_t ModelPlan::KvValues() const {
  uint64_t values = 0;
  for (const BlockPlan& block : blocks) values += block.KvValues();
  return values;
}

BufferWidths ModelPlan::Buffers() const {
  BufferWidths widths{.input = static_cast<size_t>(hidden_size)};
  for (const BlockPlan& block : blocks) {
    block.ForEachPart([&](const auto& part) { widths.RaiseTo(part.Buffers()); });
  }
  return widths;
}

ModelPlan PlanModel(const ModelConfig& config) { return Planner(config).Plan(); }

}  // namespace peerage::nn
