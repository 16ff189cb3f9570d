#include "model/experts/expert_numbers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>

namespace peerage {
namespace {

TEST(NpyTest, IsAHeaderAndTwoRowsOfDoubles) {
  const std::string npy = ToNpy({3, 0, 7}, {0.5, 0, 2.25});

  EXPECT_EQ(npy.substr(0, 8), std::string("\x93NUMPY\x01\x00", 8));
  const size_t data = 10 + static_cast<uint8_t>(npy[8]) + 256 * static_cast<uint8_t>(npy[9]);
  EXPECT_EQ(data % 64, 0u);
  EXPECT_EQ(npy[data - 1], '\n');
  EXPECT_THAT(npy, ::testing::HasSubstr("'shape': (2, 3)"));
  ASSERT_EQ(npy.size(), data + 6 * sizeof(double));
  double values[6];
  std::memcpy(values, npy.data() + data, sizeof(values));
  EXPECT_THAT(values, ::testing::ElementsAre(3, 0, 7, 0.5, 0, 2.25));
}

}  // namespace
}  // namespace peerage
