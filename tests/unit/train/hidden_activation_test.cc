#include "train/kernels/hidden_activation.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "model/kernels/gated_activation.h"
#include "tests/unit/kernels/kernel_target.h"

namespace peerage::kernels {
namespace {

constexpr Activation kAll[] = {Activation::kSilu, Activation::kGelu, Activation::kGeluTanh,
                               Activation::kRelu};

std::vector<double> Grid() {
  std::vector<double> x;
  for (int i = -1003; i <= 1003; ++i) x.push_back(i / 100.0 + 0.0037);
  return x;
}

TEST(HiddenActivationTest, ValuesAreServingsAndSlopesTheirDifferences) {
  const std::vector<double> x = Grid();
  for (const Activation function : kAll) {
    std::vector<double> values(x.size()), slopes(x.size());
    Activate({function, static_cast<int64_t>(x.size())}, x.data(), values.data(), slopes.data());
    for (size_t i = 0; i < x.size(); ++i) {
      constexpr double kStep = 1e-6;
      const double difference = (ActivationReference(function, x[i] + kStep) -
                                 ActivationReference(function, x[i] - kStep)) /
                                (2 * kStep);
      EXPECT_NEAR(values[i], ActivationReference(function, x[i]), 1e-12);
      EXPECT_NEAR(slopes[i], difference, 1e-8) << x[i];
    }
  }
}

TEST(HiddenActivationTest, F32IsTheSameOnEveryInstructionSet) {
  const std::vector<double> x = Grid();
  const std::vector<float> hidden(x.begin(), x.end());
  const auto count = static_cast<int64_t>(x.size());
  ForEachTarget([&] {
    for (const Activation function : kAll) {
      std::vector<double> exact(hidden.begin(), hidden.end()), values(count), slopes(count);
      std::vector<float> fast(count), fast_slopes(count), alone(count);
      Activate({function, count}, exact.data(), values.data(), slopes.data());
      Activate({function, count}, hidden.data(), fast.data(), fast_slopes.data());
      Activate({function, count}, hidden.data(), alone.data(), nullptr);
      for (int64_t i = 0; i < count; ++i) {
        EXPECT_NEAR(fast[i], values[i], 2e-6) << hidden[i];
        EXPECT_NEAR(fast_slopes[i], slopes[i], 2e-6) << hidden[i];
      }
      EXPECT_EQ(fast, alone);
    }
  });
}

}  // namespace
}  // namespace peerage::kernels
