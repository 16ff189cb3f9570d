#pragma once

#include <nlohmann/json.hpp>

#include "model/model_config.h"

namespace peerage::transform {

// The config.json of `model_type: "peerage"` with every key but attention, ffn and layers.
nlohmann::ordered_json PeerageConfigJson(const ModelConfig& config);

}  // namespace peerage::transform
