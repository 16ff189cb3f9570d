#pragma once

#include <cstdint>

#include "model/config/model_config.h"

namespace peerage::transform {

// Floating-point operations that one token costs in one layer when `context` positions are before
// it: 2 for each weight of a projection that it meets, 2 x context x heads x head_dim in attention
// (as the BAM paper counts, Table 10), nothing for element-wise work, selection and norms.
uint64_t LayerFlops(const ModelConfig& config, const LayerConfig& layer, int64_t context);

}  // namespace peerage::transform
