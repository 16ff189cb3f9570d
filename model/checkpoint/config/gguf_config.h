#pragma once

#include "absl/status/statusor.h"
#include "model/checkpoint/container/gguf.h"
#include "model/config/model_config.h"

namespace peerage {

// The ModelConfig that a GGUF file of the `llama` architecture describes. The head is tied when
// the file has no output.weight. Keys that would change the function (rope scaling, experts,
// sliding windows, multipliers) are refused unless they have their neutral value.
absl::StatusOr<ModelConfig> ParseGgufConfig(const GgufContents& contents);

}  // namespace peerage
