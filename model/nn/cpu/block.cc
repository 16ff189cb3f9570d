#include "model/nn/cpu/block.h"

#include <algorithm>

namespace peerage::nn::cpu {
namespace {

// The CPU's layer for each kind of part that a plan may have.
AnyAttention Place(const AttentionPlan& plan, WeightPlacer& placer) {
  return Attention::Place(plan, placer);
}
AnyAttention Place(const MixtureAttentionPlan& plan, WeightPlacer& placer) {
  return MixtureAttention::Place(plan, placer);
}
FeedForward Place(const DenseFfnPlan& plan, WeightPlacer& placer) {
  return DenseFfn::Place(plan, placer);
}
FeedForward Place(const MixtureFfnPlan& plan, WeightPlacer& placer) {
  return MixtureFfn::Place(plan, placer);
}
FeedForward Place(const PeerPlan& plan, WeightPlacer& placer) { return Peer::Place(plan, placer); }
FeedForward Place(const ProductKeyMemoryPlan& plan, WeightPlacer& placer) {
  return ProductKeyMemory::Place(plan, placer);
}

}  // namespace

Block Block::Place(const BlockPlan& plan, int layer, WeightPlacer& placer) {
  const auto place = [&](const auto& part) { return cpu::Place(part, placer); };
  Block block;
  block.layer_ = layer;
  block.input_norm_ = Norm::Place(plan.input_norm, placer);
  block.attention_ = std::visit(place, plan.attention);
  if (plan.post_attention_norm.has_value()) {
    block.post_attention_norm_ = Norm::Place(*plan.post_attention_norm, placer);
  }
  for (const FeedForwardPlan& part : plan.ffn) block.ffn_.push_back(std::visit(place, part));
  return block;
}

void Block::Forward(const StepContext& step, const KvLayer& kv) const {
  Activations u = Normalize(step, input_norm_);
  Show(step, LayerPart::kAttention, u);
  const bool parallel = !post_attention_norm_.has_value();
  if (parallel) Route(step, u);  // before attention runs
  std::visit([&](const auto& layer) { layer.Forward(step, u, kv); }, attention_);
  if (!parallel) {
    u = Normalize(step, *post_attention_norm_);
    Route(step, u);
  }
  Show(step, LayerPart::kFeedForward, u);
  for (const FeedForward& part : ffn_) {
    std::visit([&](const auto& layer) { layer.Forward(step, u); }, part);
  }
}

Activations Block::Normalize(const StepContext& step, const Norm& norm) const {
  const Workspace& buffers = step.workspace;
  step.ForTokens([&](RowRange rows) { norm.Forward(buffers.residual, buffers.normed, rows); });
  return {.x = buffers.normed,
          .stride = static_cast<size_t>(norm.width),
          .panels = buffers.panels,
          .tokens = step.tokens()};
}

void Block::Route(const StepContext& step, const Activations& u) const {
  for (const FeedForward& part : ffn_) {
    std::visit([&](const auto& layer) { layer.Route(step, u); }, part);
  }
}

void Block::Show(const StepContext& step, LayerPart part, const Activations& u) const {
  if (step.tap) step.tap(layer_, part, {u.x, u.tokens * u.stride});
}

void Block::AppendWeights(std::vector<LinearLayer*>& order) {
  const auto append_routers = [&] {
    for (FeedForward& part : ffn_) {
      std::visit([&](auto& layer) { layer.AppendRouters(order); }, part);
    }
  };
  const bool parallel = !post_attention_norm_.has_value();
  if (parallel) append_routers();
  std::visit([&](auto& layer) { layer.AppendWeights(order); }, attention_);
  if (!parallel) append_routers();
  for (FeedForward& part : ffn_) {
    std::visit([&](auto& layer) { layer.AppendWeights(order); }, part);
  }
}

size_t Block::ScratchBytes() const {
  size_t most = 0;
  for (const FeedForward& part : ffn_) {
    most = std::max(most, std::visit([](const auto& layer) { return layer.ScratchBytes(); }, part));
  }
  return most;
}

}  // namespace peerage::nn::cpu
