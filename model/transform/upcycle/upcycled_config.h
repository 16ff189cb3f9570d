#pragma once

#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"
#include "model/config/model_config.h"
#include "model/transform/upcycle/upcycle_options.h"

namespace peerage::transform {

// The config.json of what a base and its experts become; a single expert leaves the model dense.
// Preconditions: the base is dense, and its layers of one width; the options are valid.
absl::StatusOr<nlohmann::ordered_json> UpcycledConfigJson(const ModelConfig& base,
                                                          const UpcycleOptions& options);

}  // namespace peerage::transform
