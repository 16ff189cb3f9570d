#pragma once

#include "absl/status/statusor.h"
#include "base/json_object.h"
#include "model/config/model_config.h"

namespace peerage {

// The fields of an `ffn` entry of kind `peer` or `pkm`; `pkm` has those of the router only. The
// defaults are the paper's (ProductKeyConfig); num_experts, heads, top_k and, except with direct
// keys, key_dim are required. A field that contradicts what the entry's layout stores is an error
// that names both: a layout changes names and orders, never what is computed.
// Neither has an intermediate_size.
absl::StatusOr<FfnConfig> ParsePeer(JsonObject& entry, int intermediate_size);
absl::StatusOr<FfnConfig> ParseProductKeyMemory(JsonObject& entry, int intermediate_size);

}  // namespace peerage
