#pragma once

#include <nlohmann/json.hpp>

#include "model/model_config.h"
#include "model/tensor_type.h"

namespace peerage::transform {

// The config.json of `model_type: "peerage"` with every key but attention, ffn and layers.
nlohmann::ordered_json PeerageConfigJson(const ModelConfig& config);

// The config.json of `model_type: "llama"`. Preconditions: the model is dense, with the block and
// norms of llama; `dtype` is plain.
nlohmann::ordered_json LlamaConfigJson(const ModelConfig& config, TensorType dtype);

}  // namespace peerage::transform
