#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/experts/expert_usage.h"

namespace peerage {

// Reads selections that drift is measured against, [layers][num_experts], from what
// `peerage experts --npy FILE` wrote of all layers. INVALID_ARGUMENT, with the path, when the file
// cannot be read, is no such file, or is of a model with other experts.
absl::StatusOr<std::vector<std::vector<uint64_t>>> ReadExpertBaseline(
    const std::string& path, absl::Span<const ExpertLayer> layers);

}  // namespace peerage
