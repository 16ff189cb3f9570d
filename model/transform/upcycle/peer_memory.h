#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/statusor.h"

namespace peerage::transform {

// A PEER memory that a layer is to have beside its FFN.
struct PeerMemory {
  int layer = 0;
  nlohmann::ordered_json entry;  // of the layer's `ffn` in a config.json
};

// Reads "layer=15,experts=65536,heads=8,top_k=16,key_dim=128". `experts` is the entry's
// num_experts, and `expert_tables` its experts; keys, query_bias, query_norm, query_norm_eps,
// score, activation, glu and pre_rmsnorm are the format's (docs/model_format.md). An error names
// the key.
absl::StatusOr<PeerMemory> ParsePeerMemory(const std::string& text);

}  // namespace peerage::transform
