#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/model_config.h"
#include "model/transform/upcycle.h"

namespace peerage::transform {

// The config.json of what a base and its experts become. `expert_names` are those of all experts,
// the base's first; a single one leaves the model dense.
// Precondition: the base is dense, and its layers of one width.
absl::StatusOr<nlohmann::ordered_json> UpcycledConfigJson(
    const ModelConfig& base, const std::vector<std::string>& expert_names,
    const UpcycleOptions& options);

}  // namespace peerage::transform
