#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "model/experts/expert_usage.h"

namespace peerage {
namespace {

TEST(ExpertScoreTest, IsExactForWeightsOfAtLeastTwoToTheMinusEight) {
  EXPECT_EQ(ExpertScore(1), uint64_t{1} << 32);
  EXPECT_EQ(ExpertScore(0.25f), uint64_t{1} << 30);
  const float odd = std::nextafter(0x1p-8f, 1.0f);
  EXPECT_EQ(static_cast<double>(ExpertScore(odd)) * ExpertCount::kUnit, odd);
}

TEST(ExpertScoreTest, RoundsToTheNearestUnitAndHalvesUp) {
  EXPECT_EQ(ExpertScore(0x1p-32f), 1u);
  EXPECT_EQ(ExpertScore(0x1.8p-33f), 1u);
  EXPECT_EQ(ExpertScore(0x1p-33f), 1u);
  EXPECT_EQ(ExpertScore(0x1.8p-32f), 2u);
  EXPECT_EQ(ExpertScore(std::numeric_limits<float>::denorm_min()), 0u);
}

TEST(ExpertScoreTest, CutsWhatIsNoWeight) {
  EXPECT_EQ(ExpertScore(-1), 0u);
  EXPECT_EQ(ExpertScore(std::numeric_limits<float>::quiet_NaN()), 0u);
  EXPECT_EQ(ExpertScore(4096), uint64_t{4096} << 32);
  EXPECT_EQ(ExpertScore(5000), uint64_t{4096} << 32);
  EXPECT_EQ(ExpertScore(std::numeric_limits<float>::infinity()), uint64_t{4096} << 32);
}

}  // namespace
}  // namespace peerage
