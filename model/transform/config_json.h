#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/statusor.h"
#include "model/config/model_config.h"
#include "model/tensor_type.h"

namespace peerage::transform {

// The config.json of `model_type: "peerage"` with every key but attention, ffn and layers.
nlohmann::ordered_json PeerageConfigJson(const ModelConfig& config);

// The config.json of `model_type: "llama"`. Preconditions: the model is dense, with the block and
// norms of llama; `dtype` is plain.
nlohmann::ordered_json LlamaConfigJson(const ModelConfig& config, TensorType dtype);

// The text of a config.json whose `dtype` and `torch_dtype`, where it has them, are this one. A
// text that needs no change stays as it is. One that is not JSON is an error.
absl::StatusOr<std::string> WithDtype(const std::string& config_json, TensorType dtype);

}  // namespace peerage::transform
