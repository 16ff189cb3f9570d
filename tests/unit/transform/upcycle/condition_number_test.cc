#include "model/transform/upcycle/condition_number.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace peerage::transform {
namespace {

TEST(ConditionNumberTest, OfRowsAtRightAnglesIsTheRatioOfTheirLengths) {
  EXPECT_NEAR(ConditionNumber(std::vector<float>{3, 0, 0, 0, 0, 12}, 2), 4, 1e-9);
  EXPECT_NEAR(ConditionNumber(std::vector<float>{1, 1, 0, 1, -1, 0, 0, 0, 1}, 3), std::sqrt(2.0),
              1e-9);
  EXPECT_EQ(ConditionNumber(std::vector<float>{5, 6, 7}, 1), 1);
}

// Unit rows with the cosine c have the squared singular values 1 + c and 1 - c.
TEST(ConditionNumberTest, GrowsAsRowsBecomeAlike) {
  for (const double cosine : {0.0, 0.5, 0.9, 0.999}) {
    const float x = static_cast<float>(cosine);
    const float y = static_cast<float>(std::sqrt(1 - cosine * cosine));
    EXPECT_NEAR(ConditionNumber(std::vector<float>{1, 0, x, y}, 2),
                std::sqrt((1 + cosine) / (1 - cosine)), 1e-2 * cosine + 1e-9)
        << cosine;
  }
}

TEST(ConditionNumberTest, OfEqualRowsIsInfinite) {
  const std::vector<float> values = {1, 2, 3, 1, 2, 3, 0, 1, 0};

  EXPECT_EQ(ConditionNumber(values, 3), std::numeric_limits<double>::infinity());
  EXPECT_EQ(ConditionNumber(std::vector<float>(6, 0.0f), 2),
            std::numeric_limits<double>::infinity());
}

}  // namespace
}  // namespace peerage::transform
