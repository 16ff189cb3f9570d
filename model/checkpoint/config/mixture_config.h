#pragma once

#include "absl/status/statusor.h"
#include "base/json_object.h"
#include "model/config/model_config.h"

namespace peerage {

// The value of an `attention` key: dense, or a mixture of attention experts.
absl::StatusOr<AttentionConfig> ParseAttention(JsonObject attention);

// The fields of an `ffn` entry of kind `mixture`. `intermediate_size` is the model's, for an entry
// without one.
absl::StatusOr<FfnConfig> ParseMixtureFfn(JsonObject& entry, int intermediate_size);

}  // namespace peerage
