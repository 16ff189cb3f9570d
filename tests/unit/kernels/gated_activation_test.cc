#include "model/kernels/gated_activation.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "tests/support/nan.h"
#include "tests/unit/kernels/kernel_target.h"

namespace peerage::kernels {
namespace {

using enum Activation;
constexpr Activation kFunctions[] = {kSilu, kGelu, kGeluTanh, kRelu};

// act(gate) * up of one row, with something in `y` behind it.
std::vector<float> Activate(Activation function, const std::vector<float>& gate,
                            const std::vector<float>& up) {
  std::vector<float> y(gate.size() + 1, -7.0f);
  GatedActivation({function, gate.data(), up.data(), gate.size(), static_cast<int>(gate.size()),
                   y.data(), y.size()},
                  0, 1);
  EXPECT_EQ(y.back(), -7.0f);
  y.pop_back();
  return y;
}

std::vector<float> ActivateReference(Activation function, const std::vector<float>& gate,
                                     const std::vector<float>& up) {
  std::vector<float> y(gate.size());
  GatedActivationReference({function, gate.data(), up.data(), gate.size(),
                            static_cast<int>(gate.size()), y.data(), y.size()},
                           0, 1);
  return y;
}

TEST(GatedActivationTest, IsAccurateToAMillionth) {
  std::vector<float> gate;
  for (int i = -100'000; i <= 100'000; ++i) gate.push_back(i / 10'000.0f);
  const std::vector<float> ones(gate.size(), 1.0f);
  for (const Activation function : kFunctions) {
    SCOPED_TRACE(static_cast<int>(function));
    const std::vector<float> expected = ActivateReference(function, gate, ones);
    ForEachTarget([&] {
      const std::vector<float> y = Activate(function, gate, ones);
      for (size_t i = 0; i < y.size(); ++i) ASSERT_NEAR(y[i], expected[i], 1e-6) << gate[i];
    });
  }
}

TEST(GatedActivationTest, MultipliesByUpForEveryWidth) {
  for (const Activation function : kFunctions) {
    for (const int width : {0, 1, 3, 15, 16, 31, 33, 257}) {
      std::vector<float> gate(width), up(width);
      for (int i = 0; i < width; ++i) {
        gate[i] = 0.1f * (i % 60 - 30);
        up[i] = 1.0f - 0.25f * (i % 9);
      }
      const std::vector<float> expected = ActivateReference(function, gate, up);
      ForEachTarget([&] {
        const std::vector<float> y = Activate(function, gate, up);
        for (int i = 0; i < width; ++i) EXPECT_NEAR(y[i], expected[i], 1e-6) << i;
      });
    }
  }
}

TEST(GatedActivationTest, GivesTheSameBitsForEveryInstructionSet) {
  std::vector<float> gate;
  for (int i = -30'000; i < 30'001; ++i) gate.push_back(i * 0.0037f);
  for (const Activation function : kFunctions) {
    const std::vector<float> expected = Activate(function, gate, gate);
    ForEachTarget([&] {
      const std::vector<float> y = Activate(function, gate, gate);
      EXPECT_EQ(std::memcmp(y.data(), expected.data(), y.size() * sizeof(float)), 0);
    });
  }
}

TEST(GatedActivationTest, KeepsHugeValuesFiniteAndNanNan) {
  const std::vector<float> gate = {1e30f, -1e30f, 0, kNan, 100, -100}, up(6, 0.5f);
  for (const Activation function : kFunctions) {
    SCOPED_TRACE(static_cast<int>(function));
    ForEachTarget([&] {
      const std::vector<float> y = Activate(function, gate, up);
      EXPECT_EQ(y[0], 0.5e30f);
      EXPECT_EQ(y[1], 0);
      EXPECT_EQ(y[2], 0);
      EXPECT_TRUE(std::isnan(y[3]));
      EXPECT_EQ(y[4], 50);
      EXPECT_NEAR(y[5], 0, 1e-30);
    });
  }
}

TEST(GatedActivationTest, TouchesOnlyTheRowsAskedFor) {
  const std::vector<float> x(4 * 5, 1.0f);
  ForEachTarget([&] {
    std::vector<float> y(4 * 6, -7.0f);
    GatedActivation({kRelu, x.data(), x.data(), 5, 4, y.data(), 6}, 1, 3);
    for (int i = 0; i < 24; ++i) {
      EXPECT_EQ(y[i], i / 6 >= 1 && i / 6 < 3 && i % 6 < 4 ? 1.0f : -7.0f) << i;
    }
  });
}

}  // namespace
}  // namespace peerage::kernels
