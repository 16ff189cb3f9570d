#include "base/number_text.h"

#include <gtest/gtest.h>

namespace peerage {
namespace {

TEST(NumberTextTest, PicksTheLargestUnitThatFits) {
  EXPECT_EQ(FormatBytes(0), "0 B");
  EXPECT_EQ(FormatBytes(1023), "1023 B");
  EXPECT_EQ(FormatBytes(1024), "1.0 KiB");
  EXPECT_EQ(FormatBytes(102'861'632), "98.1 MiB");
  EXPECT_EQ(FormatBytes(UINT64_MAX), "16777216.0 TiB");
  EXPECT_EQ(FormatCount(999), "999");
  EXPECT_EQ(FormatCount(134'515'008), "134.5M");
}

TEST(NumberTextTest, GroupsDigitsByThousands) {
  EXPECT_EQ(FormatWhole(0), "0");
  EXPECT_EQ(FormatWhole(999), "999");
  EXPECT_EQ(FormatWhole(1'048'576), "1,048,576");
}

TEST(NumberTextTest, WritesAFloatInAsFewDigitsAsTellItApart) {
  EXPECT_EQ(ShortestDecimal(1e-5f), 1e-5);
  EXPECT_EQ(ShortestDecimal(0.1f), 0.1);
  EXPECT_EQ(static_cast<float>(ShortestDecimal(1.0f / 3)), 1.0f / 3);
}

}  // namespace
}  // namespace peerage
