#include "model/nn/cuda/block.h"

namespace peerage::nn::cuda {
namespace {

// The layer for each kind of part that a plan may have.
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

Block Block::Place(const BlockPlan& plan, WeightPlacer& placer) {
  const auto place = [&](const auto& part) { return cuda::Place(part, placer); };
  Block block;
  block.input_norm_ = Norm::Place(plan.input_norm, placer);
  block.attention_ = std::visit(place, plan.attention);
  if (plan.post_attention_norm.has_value()) {
    block.post_attention_norm_ = Norm::Place(*plan.post_attention_norm, placer);
  }
  for (const FeedForwardPlan& part : plan.ffn) block.ffn_.push_back(std::visit(place, part));
  return block;
}

void Block::Forward(StepContext& step, const kernels::cuda::KvView& kv) const {
  Activations u = input_norm_.OfResidual(step);
  const bool parallel = !post_attention_norm_.has_value();
  if (parallel) Route(step, u);  // before attention runs
  std::visit([&](const auto& layer) { layer.Forward(step, u, kv); }, attention_);
  if (!parallel) {
    u = post_attention_norm_->OfResidual(step);
    Route(step, u);
  }
  for (const FeedForward& part : ffn_) {
    std::visit([&](const auto& layer) { layer.Forward(step, u); }, part);
  }
}

void Block::Route(StepContext& step, const Activations& u) const {
  for (const FeedForward& part : ffn_) {
    std::visit([&](const auto& layer) { layer.Route(step, u); }, part);
  }
}

void Block::RaiseNeeds(LayerNeeds& needs) const {
  std::visit([&](const auto& layer) { layer.RaiseNeeds(needs); }, attention_);
  for (const FeedForward& part : ffn_) {
    std::visit([&](const auto& layer) { layer.RaiseNeeds(needs); }, part);
  }
}

}  // namespace peerage::nn::cuda
