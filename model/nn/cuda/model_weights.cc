#include "model/nn/cuda/model_weights.h"

#include <utility>

namespace peerage::nn::cuda {

ModelWeights ModelWeights::Place(const ModelPlan& plan, WeightPlacer& placer) {
  const LinearLayer embedding = placer.Linear(Rows({plan.embedding}));
  std::vector<Block> blocks;
  for (const BlockPlan& block : plan.blocks) blocks.push_back(Block::Place(block, placer));
  const Norm final_norm = Norm::Place(plan.final_norm, placer);
  const LinearLayer head = plan.head.has_value() ? placer.Linear(Rows({*plan.head})) : embedding;
  return {embedding.w, std::move(blocks), OutputHead(final_norm, head)};
}

LayerNeeds ModelWeights::Needs(int tokens, int positions) const {
  LayerNeeds needs{.tokens = tokens, .positions = positions};
  for (const Block& block : blocks) block.RaiseNeeds(needs);
  head.RaiseNeeds(needs);
  return needs;
}

}  // namespace peerage::nn::cuda
