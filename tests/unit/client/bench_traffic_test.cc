#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "client/bench/statistics.h"
#include "client/bench/traffic.h"

namespace peerage::client {
namespace {

constexpr size_t kMany = 20000;

std::vector<double> Intervals(const std::vector<absl::Duration>& arrivals) {
  std::vector<double> seconds;
  absl::Duration before;
  for (const absl::Duration arrival : arrivals) {
    seconds.push_back(absl::ToDoubleSeconds(arrival - before));
    before = arrival;
  }
  return seconds;
}

TEST(TrafficTest, KeepsItsRateExactlyAndItsShape) {
  for (const double burstiness : {0.25, 1.0, 4.0}) {
    const Traffic traffic{.request_rate = 50, .burstiness = burstiness};
    const auto arrivals = Arrivals(traffic, kMany, /*seed=*/7);
    ASSERT_EQ(arrivals.size(), kMany);
    EXPECT_TRUE(std::is_sorted(arrivals.begin(), arrivals.end()));
    EXPECT_NEAR(absl::ToDoubleSeconds(arrivals.back()), kMany / 50.0, 1e-6);

    // A gamma distribution's deviation is mean / sqrt(shape).
    const Distribution intervals = Describe(Intervals(arrivals), {});
    EXPECT_NEAR(intervals.deviation / intervals.mean, 1 / std::sqrt(burstiness),
                0.03 / std::sqrt(burstiness));
  }
}

TEST(TrafficTest, IsPoissonByDefault) {
  const auto intervals = Intervals(Arrivals({.request_rate = 10}, kMany, /*seed=*/1));
  // Of exponential intervals, a part of e^-x is longer than x means.
  for (const double x : {0.5, 1.0, 2.0}) {
    const auto longer = std::count_if(intervals.begin(), intervals.end(),
                                      [x](double interval) { return interval > x / 10; });
    EXPECT_NEAR(static_cast<double>(longer) / kMany, std::exp(-x), 0.012) << x;
  }
}

TEST(TrafficTest, IsTheSeeds) {
  const Traffic traffic{.request_rate = 10};
  EXPECT_EQ(Arrivals(traffic, 100, 5), Arrivals(traffic, 100, 5));
  EXPECT_NE(Arrivals(traffic, 100, 5), Arrivals(traffic, 100, 6));
}

TEST(TrafficTest, ComesAllAtOnceWithoutARate) {
  const Traffic traffic{.max_concurrency = 4};
  EXPECT_TRUE(traffic.closed_loop());
  EXPECT_FALSE(Traffic().closed_loop());
  EXPECT_THAT(Arrivals(traffic, 3, 0), testing::Each(absl::ZeroDuration()));
}

// The rate at each request is that of its place between first and last.
TEST(TrafficTest, RampsUp) {
  const auto mean_rate = [](const std::vector<double>& intervals, double from, double to) {
    double seconds = 0;
    for (auto i = static_cast<size_t>(from * kMany); i < static_cast<size_t>(to * kMany); ++i) {
      seconds += intervals[i];
    }
    return (to - from) * kMany / seconds;
  };
  // Even enough to see the rate in a few intervals.
  Traffic traffic{.burstiness = 100, .ramp_up = RampUp{.start_rps = 10, .end_rps = 1000}};
  EXPECT_TRUE(traffic.open_loop());
  const auto linear = Intervals(Arrivals(traffic, kMany, 3));
  EXPECT_NEAR(mean_rate(linear, 0.49, 0.51), 505, 10);
  EXPECT_NEAR(mean_rate(linear, 0.98, 1), 990, 20);
  traffic.ramp_up->exponential = true;
  const auto exponential = Intervals(Arrivals(traffic, kMany, 3));
  EXPECT_NEAR(mean_rate(exponential, 0.49, 0.51), 100, 2);
  EXPECT_NEAR(mean_rate(exponential, 0.98, 1), 955, 20);
}

}  // namespace
}  // namespace peerage::client
