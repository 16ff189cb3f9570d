#pragma once

#include <cstdint>
#include <vector>

#include "model/checkpoint/layout/tensor_spec.h"
#include "model/config/model_config.h"

namespace peerage {

// The canonical tensors of a `peer` or `pkm` entry (docs/model_format.md), their names without the
// prefix of the layer and kind ("query.weight"), and without parts.
std::vector<TensorSpec> ProductKeyTensors(const FfnConfig& ffn, int64_t hidden_size);

}  // namespace peerage
