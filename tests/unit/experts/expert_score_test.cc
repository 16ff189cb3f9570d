#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "model/experts/expert_usage.h"

namespace peerage {
namespace {

TEST(ExpertScoreTest, IsExactForWeightsOfAtLeastAHalf) {
  EXPECT_EQ(ExpertScore(1), uint64_t{1} << 24);
  EXPECT_EQ(ExpertScore(0.25f), uint64_t{1} << 22);
  const float odd = std::nextafter(0x1p-1f, 1.0f);
  EXPECT_EQ(static_cast<double>(ExpertScore(odd)) * ExpertCount::kUnit, odd);
}

TEST(ExpertScoreTest, RoundsToTheNearestUnitAndHalvesUp) {
  EXPECT_EQ(ExpertScore(0x1p-24f), 1u);
  EXPECT_EQ(ExpertScore(0x1.8p-25f), 1u);
  EXPECT_EQ(ExpertScore(0x1p-25f), 1u);
  EXPECT_EQ(ExpertScore(0x1.8p-24f), 2u);
  EXPECT_EQ(ExpertScore(std::numeric_limits<float>::denorm_min()), 0u);
}

TEST(ExpertScoreTest, CutsWhatIsNoWeight) {
  EXPECT_EQ(ExpertScore(-1), 0u);
  EXPECT_EQ(ExpertScore(std::numeric_limits<float>::quiet_NaN()), 0u);
  EXPECT_EQ(ExpertScore(4096), uint64_t{4096} << 24);
  EXPECT_EQ(ExpertScore(5000), uint64_t{4096} << 24);
  EXPECT_EQ(ExpertScore(std::numeric_limits<float>::infinity()), uint64_t{4096} << 24);
}

}  // namespace
}  // namespace peerage
