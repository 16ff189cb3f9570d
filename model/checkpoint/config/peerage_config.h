#pragma once

#include "absl/status/statusor.h"
#include "base/json_object.h"
#include "model/config/model_config.h"

namespace peerage {

// A config.json of `model_type: "peerage"`. Every key is known or an error. Required are
// format_version, the sizes (vocab, hidden, layers, heads, intermediate) and
// max_position_embeddings; the others have the defaults of ModelConfig, num_key_value_heads the
// number of heads, and head_dim the hidden size divided by it.
absl::StatusOr<ModelConfig> ParsePeerageConfig(JsonObject config);

}  // namespace peerage
