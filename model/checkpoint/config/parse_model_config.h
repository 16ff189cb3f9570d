#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/config/model_config.h"

namespace peerage {

inline constexpr uint64_t kMaxModelConfigBytes = uint64_t{1} << 20;  // of a file that is read

// Parses the text of a config.json (`model_type` peerage, llama or mixtral). Errors name the key.
// `ignored_keys`, when given, receives the keys of a llama or mixtral config that have no effect
// here.
absl::StatusOr<ModelConfig> ParseModelConfig(absl::string_view json,
                                             std::vector<std::string>* ignored_keys = nullptr);

}  // namespace peerage
