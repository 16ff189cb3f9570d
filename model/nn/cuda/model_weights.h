#pragma once

#include <vector>

#include "model/nn/cuda/block.h"
#include "model/nn/cuda/output_head.h"
#include "model/nn/cuda/weight_placer.h"
#include "model/nn/plan/model_plan.h"

namespace peerage::nn::cuda {

// The weights of a model, in the order a token meets them. They lie in an arena.
struct ModelWeights {
  Matrix embedding;
  std::vector<Block> blocks;
  OutputHead head;

  static ModelWeights Place(const ModelPlan& plan, WeightPlacer& placer);

  // What launches for steps of so many tokens need.
  LayerNeeds Needs(int tokens, int positions) const;
};

}  // namespace peerage::nn::cuda
