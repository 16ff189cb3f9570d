#pragma once

#include <vector>

#include "model/expert_usage.h"
#include "model/model_config.h"

namespace peerage {

// The expert layers of a model, in the order a token meets them, known before it is loaded.
std::vector<ExpertLayer> ExpertLayersOf(const ModelConfig& config);

}  // namespace peerage
