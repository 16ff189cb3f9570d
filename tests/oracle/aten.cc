#include "tests/oracle/aten.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace peerage {

at::Tensor Normal(const std::vector<int64_t>& shape, uint32_t seed) {
  at::Tensor tensor = at::empty(shape, at::kFloat);
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::generate_n(Floats(tensor), tensor.numel(), [&] { return normal(random); });
  return tensor;
}

at::Tensor Doubles(const std::vector<float>& values, const std::vector<int64_t>& shape) {
  at::Tensor tensor = at::empty(shape, at::kFloat);
  EXPECT_EQ(tensor.numel(), static_cast<int64_t>(values.size()));
  std::copy(values.begin(), values.end(), Floats(tensor));
  return tensor.to(at::kDouble);
}

void ExpectNear(const at::Tensor& actual, const at::Tensor& expected, double tolerance) {
  ASSERT_EQ(actual.sizes(), expected.sizes());
  const double most = expected.abs().max().item<double>();
  const double error = (actual.to(at::kDouble) - expected).abs().max().item<double>();
  EXPECT_LE(error, tolerance * std::max(1.0, most)) << "of values up to " << most;
}

}  // namespace peerage
