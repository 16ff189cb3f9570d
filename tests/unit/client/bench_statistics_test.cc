#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "client/bench/statistics.h"

namespace peerage::client {
namespace {

using ::testing::DoubleEq;
using ::testing::Pair;

// numpy 2.4: np.percentile(values, p), np.mean(values), np.std(values).
TEST(BenchStatisticsTest, AreNumPys) {
  const std::vector<double> values = {12.5, 3.25, 7, 41, 0.5, 9.75, 9.75, 100.125, 2, 6.5, 33.3};
  const Distribution result = Describe(values, {0, 1, 25, 50, 90, 99, 99.9, 100});

  EXPECT_DOUBLE_EQ(result.mean, 20.51590909090909);
  EXPECT_DOUBLE_EQ(result.deviation, 28.021769687981543);
  EXPECT_DOUBLE_EQ(result.median, 9.75);
  EXPECT_THAT(
      result.percentiles,
      testing::ElementsAre(Pair(0, DoubleEq(0.5)), Pair(1, DoubleEq(0.65)),
                           Pair(25, DoubleEq(4.875)), Pair(50, DoubleEq(9.75)),
                           Pair(90, DoubleEq(41)), Pair(99, DoubleEq(94.21250000000002)),
                           Pair(99.9, DoubleEq(99.53375000000011)), Pair(100, DoubleEq(100.125))));
}

TEST(BenchStatisticsTest, OfOneValueAreThatValue) {
  const Distribution result = Describe({7}, {99});
  EXPECT_EQ(result.mean, 7);
  EXPECT_EQ(result.median, 7);
  EXPECT_EQ(result.deviation, 0);
  EXPECT_THAT(result.percentiles, testing::ElementsAre(Pair(99, 7)));
}

TEST(BenchStatisticsTest, OfNothingAreZero) {
  const Distribution result = Describe({}, {50});
  EXPECT_EQ(result.mean, 0);
  EXPECT_THAT(result.percentiles, testing::ElementsAre(Pair(50, 0)));
}

}  // namespace
}  // namespace peerage::client
