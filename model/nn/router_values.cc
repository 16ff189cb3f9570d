#include "model/nn/router_values.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/error_text.h"

namespace peerage::nn {

absl::Status CheckFinite(const std::string& tensor, absl::Span<const float> values) {
  for (const float value : values) {
    if (!std::isfinite(value)) {
      return absl::InvalidArgumentError(absl::StrCat("tensor ", Quoted(tensor), " holds ", value,
                                                     ": a router's values are numbers"));
    }
  }
  return absl::OkStatus();
}

AffineMap FoldBatchNorm(const BatchNormValues& norm, absl::Span<const float> linear_bias) {
  AffineMap map;
  for (size_t i = 0; i < norm.weight.size(); ++i) {
    const double scale = norm.weight[i] / std::sqrt(double{norm.variance[i]} + norm.epsilon);
    const auto shift = static_cast<float>(norm.bias[i] - norm.mean[i] * scale);
    map.scales.push_back(static_cast<float>(scale));
    map.shifts.push_back(
        std::fma(linear_bias.empty() ? 0.0f : linear_bias[i], map.scales.back(), shift));
  }
  return map;
}

}  // namespace peerage::nn
