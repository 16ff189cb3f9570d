#pragma once

#include "absl/status/status.h"
#include "model/config/model_config.h"

namespace peerage::transform {

// Whether every layer has one attention and one FFN, none of them a mixture, and all layers have
// the same width. An error names the layer.
absl::Status CheckDense(const ModelConfig& config);

// The intermediate size of all layers. Precondition: CheckDense is OK.
int DenseWidth(const ModelConfig& config);

}  // namespace peerage::transform
