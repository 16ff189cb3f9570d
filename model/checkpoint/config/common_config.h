#pragma once

#include "absl/status/statusor.h"
#include "base/json_object.h"
#include "model/config/model_config.h"

namespace peerage {

// The keys that every kind of config.json has in common: sizes, heads, positions, tied
// embeddings and special tokens. Leaves `layers` and what the kinds say differently as it is
// by default. An absent bos_token_id or eos_token_id means that there is none.
absl::StatusOr<ModelConfig> ParseCommonKeys(JsonObject& config);

}  // namespace peerage
