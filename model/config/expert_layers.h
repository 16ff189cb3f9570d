#pragma once

#include <vector>

#include "model/config/model_config.h"
#include "model/experts/expert_usage.h"

namespace peerage {

// The expert layers of a model, in the order a token meets them, known before it is loaded.
std::vector<ExpertLayer> ExpertLayersOf(const ModelConfig& config);

}  // namespace peerage
