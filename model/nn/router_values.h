#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace peerage::nn {

// INVALID_ARGUMENT, with the tensor's name, when a value of a router is not finite.
absl::Status CheckFinite(const std::string& tensor, absl::Span<const float> values);

// y = scale * x + shift, by row.
struct AffineMap {
  std::vector<float> scales;
  std::vector<float> shifts;
};

// A batch norm as the map that it is at inference (Ioffe and Szegedy 2015, Algorithm 2, line 11),
// behind a linear layer with a bias, which may be empty: y = scale * (W x) + shift.
struct BatchNormValues {
  float epsilon = 0;
  std::vector<float> weight, bias, mean, variance;  // [rows] each
};
AffineMap FoldBatchNorm(const BatchNormValues& norm, absl::Span<const float> linear_bias);

}  // namespace peerage::nn
