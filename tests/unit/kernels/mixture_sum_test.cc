#include "model/kernels/mixture_sum.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "tests/support/nan.h"
#include "tests/support/random_values.h"
#include "tests/unit/kernels/kernel_target.h"

namespace peerage::kernels {
namespace {

constexpr int kWidths[] = {0, 1, 3, 15, 16, 31, 33, 257};

// The sum [width], with something behind it that must stay.
std::vector<float> WithGuard(std::vector<float> sum) {
  sum.push_back(-7.0f);
  return sum;
}

TEST(MixtureSumTest, AddsTheBitsOfFusedMultiplyAdds) {
  for (const int width : kWidths) {
    const std::vector<float> x = RandomValues(width, 1);
    std::vector<float> expected = WithGuard(RandomValues(width, 2));
    AddScaledReference(0.3f, x.data(), width, expected.data());
    ForEachTarget([&] {
      std::vector<float> sum = WithGuard(RandomValues(width, 2));
      AddScaled(0.3f, x.data(), width, sum.data());
      EXPECT_EQ(sum, expected) << width;
    });
  }
}

TEST(MixtureSumTest, AColumnsBitsDoNotDependOnTheOthers) {
  const std::vector<float> u = RandomValues(97, 3), v = RandomValues(97, 4);
  const float scores[] = {0.5f, -1.25f};
  ForEachTarget([&] {
    std::vector<float> whole(97, 0.5f), shards(97, 0.5f);
    AddConstantExpert({scores, u.data(), v.data(), 97, 0.7f}, whole.data());
    for (const auto& [first, count] : {std::pair(0, 1), {1, 31}, {32, 33}, {65, 32}}) {
      AddConstantExpert({scores, u.data() + first, v.data() + first, count, 0.7f},
                        shards.data() + first);
    }
    EXPECT_EQ(whole, shards);
  });
}

TEST(MixtureSumTest, AddsConstantExperts) {
  for (const int width : kWidths) {
    const std::vector<float> u = RandomValues(width, 5), v = RandomValues(width, 6);
    for (const auto& scores : std::vector<std::vector<float>>{
             {0, 0}, {3, -2}, {-90, 90}, {200, -200}, {-1e30f, -1e30f}}) {
      std::vector<double> expected(width, 0.25);
      AddConstantExpertReference({scores.data(), u.data(), v.data(), width, 1.5f}, expected.data());
      ForEachTarget([&] {
        std::vector<float> sum = WithGuard(std::vector<float>(width, 0.25f));
        AddConstantExpert({scores.data(), u.data(), v.data(), width, 1.5f}, sum.data());
        for (int i = 0; i < width; ++i) {
          // Four roundings of values of a few units.
          ASSERT_NEAR(sum[i], expected[i], 8 * 6e-8 * (1 + std::abs(u[i]) + std::abs(v[i])));
        }
        EXPECT_EQ(sum.back(), -7.0f);
      });
    }
  }
}

TEST(MixtureSumTest, SpreadsNaN) {
  const std::vector<float> u = {1, kNan, 1}, v = {1, 1, std::numeric_limits<float>::infinity()};
  ForEachTarget([&] {
    const float scores[] = {1, 2};
    std::vector<float> sum(3);
    AddConstantExpert({scores, u.data(), v.data(), 3, 1}, sum.data());
    EXPECT_TRUE(std::isfinite(sum[0]) && std::isnan(sum[1]) && std::isinf(sum[2]));

    const float bad[] = {kNan, 2};
    AddConstantExpert({bad, u.data(), v.data(), 1, 1}, sum.data());
    EXPECT_TRUE(std::isnan(sum[0]));

    std::vector<float> added(3);
    AddScaled(0, u.data(), 3, added.data());  // a gate of zero hides no NaN
    EXPECT_TRUE(added[0] == 0 && std::isnan(added[1]));
  });
}

}  // namespace
}  // namespace peerage::kernels
