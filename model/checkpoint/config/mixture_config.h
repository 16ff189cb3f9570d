#pragma once

#include "absl/status/statusor.h"
#include "base/json_object.h"
#include "model/config/model_config.h"

namespace peerage {

// The value of an `attention` key: dense, or a mixture of attention experts.
absl::StatusOr<AttentionConfig> ParseAttention(JsonObject attention);

// The fields of an `ffn` entry of kind `mixture`, but for its intermediate_size.
absl::StatusOr<MixtureConfig> ParseMixtureFfn(JsonObject& entry);

}  // namespace peerage
