#include "model/kernels/logits.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "tests/support/nan.h"
#include "tests/unit/kernels/kernel_target.h"

namespace peerage::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int kSizes[] = {1, 2, 3, 15, 16, 17, 31, 33, 257, 49'152, 50'257};

std::vector<float> RandomLogits(int n) {
  std::mt19937 random(n);
  std::normal_distribution<float> normal(-3, 4);
  std::vector<float> logits(n);
  for (float& x : logits) x = normal(random);
  return logits;
}

// Many ties, some of them between the highest.
std::vector<float> TiedLogits(int n) {
  std::vector<float> logits = RandomLogits(n);
  for (float& x : logits) x = std::min(std::round(x), 2.0f);
  return logits;
}

std::vector<uint32_t> SortedIndices(const std::vector<float>& logits) {
  std::vector<uint32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](uint32_t a, uint32_t b) { return logits[a] > logits[b]; });
  return order;
}

TEST(LogSumExpTest, MatchesTheReferenceAndHasTheSameBitsEverywhere) {
  for (const int n : kSizes) {
    const std::vector<float> logits = RandomLogits(n);
    const float first = LogSumExp(logits);
    ForEachTarget([&] {
      const float actual = LogSumExp(logits);
      const double expected = LogSumExpReference(logits);
      // The exponentials are right to 1.5e-7, hence so is the logarithm; the result is an f32.
      EXPECT_NEAR(actual, expected, 2e-7 + 1.2e-7 * std::abs(expected)) << n;
      EXPECT_EQ(std::memcmp(&actual, &first, sizeof(float)), 0) << n;
    });
  }
}

TEST(LogSumExpTest, IsStableForHugeLogitsAndIgnoresMaskedOnes) {
  std::vector<float> logits(33, -kInfinity);
  logits[5] = logits[32] = 1e30f;
  ForEachTarget([&] {
    EXPECT_EQ(LogSumExp(logits), 1e30f);
    EXPECT_FLOAT_EQ(LogSumExp(std::vector<float>(8, -1000.0f)), -1000 + std::log(8.0f));
  });
}

TEST(LogSumExpTest, IsNanWhenTheDistributionIsNone) {
  for (const int bad : {0, 16, 32}) {
    std::vector<float> with_nan = RandomLogits(33), with_infinity = with_nan;
    with_nan[bad] = kNan;
    with_infinity[bad] = kInfinity;
    ForEachTarget([&] {
      EXPECT_TRUE(std::isnan(LogSumExp(with_nan))) << bad;
      EXPECT_TRUE(std::isnan(LogSumExp(with_infinity))) << bad;
    });
  }
  ForEachTarget([&] {
    EXPECT_TRUE(std::isnan(LogSumExp({})));
    EXPECT_TRUE(std::isnan(LogSumExp(std::vector<float>(20, -kInfinity))));
  });
  EXPECT_TRUE(std::isnan(LogSumExpReference({})));
}

TEST(RankTest, IsThePlaceInTheSortedOrder) {
  for (const int n : kSizes) {
    for (const auto& logits : {RandomLogits(n), TiedLogits(n)}) {
      const std::vector<uint32_t> order = SortedIndices(logits);
      ForEachTarget([&] {
        for (int place = 0; place < n; place += 1 + n / 50) {
          EXPECT_EQ(Rank(logits, order[place]), place + 1u) << n;
        }
        EXPECT_EQ(Rank(logits, order.back()), n) << n;
      });
    }
  }
}

TEST(TopKTest, IsTheHeadOfTheSortedOrder) {
  for (const int n : kSizes) {
    std::vector<float> ascending(n);
    std::iota(ascending.begin(), ascending.end(), -3.0f);
    for (const auto& logits : {RandomLogits(n), TiedLogits(n), ascending}) {
      const std::vector<uint32_t> order = SortedIndices(logits);
      ForEachTarget([&] {
        EXPECT_EQ(ArgMax(logits), order[0]) << n;
        for (const int k : {0, 1, 2, 20, 300, n}) {
          std::vector<uint32_t> top(std::min(k, n));
          TopK(logits, top);
          EXPECT_TRUE(std::equal(top.begin(), top.end(), order.begin())) << k << " of " << n;
        }
      });
    }
  }
}

TEST(TopKTest, OrdersMaskedLogitsByIndexAndZerosOfBothSignsAsEqual) {
  const std::vector<float> logits = {-kInfinity, -0.0f, -kInfinity, 0.0f};
  ForEachTarget([&] {
    std::vector<uint32_t> top(4);
    TopK(logits, top);
    EXPECT_EQ(top, (std::vector<uint32_t>{1, 3, 0, 2}));
    EXPECT_EQ(ArgMax(std::vector<float>(5, -kInfinity)), 0u);
  });
}

TEST(SoftmaxWeightsTest, MatchesExpAndHasTheSameBitsEverywhere) {
  for (const int n : kSizes) {
    for (const float temperature : {0.01f, 0.7f, 1.0f, 10.0f}) {
      std::vector<float> logits = RandomLogits(n), first(n), weights(n);
      logits[n / 2] = -kInfinity;
      if (n > 1) logits[0] = -3e38f;
      if (n == 1) logits[0] = 5;
      const float highest = *std::max_element(logits.begin(), logits.end());
      SoftmaxWeights(logits, temperature, first);
      ForEachTarget([&] {
        SoftmaxWeights(logits, temperature, weights);
        EXPECT_EQ(std::memcmp(weights.data(), first.data(), n * sizeof(float)), 0);
        for (int i = 0; i < n; ++i) {
          const double x = (double{logits[i]} - highest) / temperature;
          // x is rounded three times, and its error is the weight's relative error.
          const double relative = 2e-7 + 1.8e-7 * std::abs(x);
          const double expected = std::exp(x);
          EXPECT_NEAR(weights[i], expected, x < -87 ? 2e-38 : expected * relative) << x;
        }
      });
      EXPECT_EQ(*std::max_element(weights.begin(), weights.end()), 1.0f);
    }
  }
}

}  // namespace
}  // namespace peerage::kernels
