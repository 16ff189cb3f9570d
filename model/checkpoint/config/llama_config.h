#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/json_object.h"
#include "model/config/model_config.h"

namespace peerage {

struct LlamaConfig {
  ModelConfig model;
  std::vector<std::string> ignored_keys;
};

// A config.json of `model_type: "llama"`, with the defaults of Hugging Face's LlamaConfig for
// absent keys (except the sizes, which are required). A key that would change the function in a
// way this build does not compute is refused unless its value is neutral.
absl::StatusOr<LlamaConfig> ParseLlamaConfig(JsonObject config);

// The same of `model_type: "mixtral"` and MixtralConfig, whose number of KV heads and of experts
// are sizes too: a mixture of feed-forward experts in every layer, the gates of a token's experts
// divided by their sum.
absl::StatusOr<LlamaConfig> ParseMixtralConfig(JsonObject config);

}  // namespace peerage
