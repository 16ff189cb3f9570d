#include "model/transform/upcycle/random_values.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace peerage::transform {
namespace {

std::vector<float> Fill(const RandomValues& random, uint64_t first, size_t count) {
  std::vector<float> values(count);
  random.Fill(first, absl::MakeSpan(values));
  return values;
}

TEST(RandomValuesTest, AValueBelongsToItsPlace) {
  const RandomValues random(1, "x", 1);
  const std::vector<float> all = Fill(random, 0, 101);

  for (const size_t first : {1, 2, 37, 100}) {
    const std::vector<float> part = Fill(random, first, 101 - first);
    EXPECT_EQ(part, std::vector<float>(all.begin() + first, all.end())) << first;
  }
}

TEST(RandomValuesTest, ValuesAreNormal) {
  constexpr int kCount = 100'000;
  const std::vector<float> values = Fill(RandomValues(1, "x", 3), 0, kCount);

  double sum = 0, squares = 0, products = 0;
  int within = 0;
  for (int i = 0; i < kCount; ++i) {
    sum += values[i];
    squares += double{values[i]} * values[i];
    if (i > 0) products += double{values[i]} * values[i - 1];
    within += std::abs(values[i]) < 3;
  }
  EXPECT_NEAR(sum / kCount, 0, 0.05);
  EXPECT_NEAR(squares / kCount, 9, 0.2);
  EXPECT_NEAR(products / kCount, 0, 0.1);
  EXPECT_NEAR(within / double{kCount}, 0.6827, 0.006);
}

TEST(RandomValuesTest, SeedsAndTensorsHaveValuesOfTheirOwn) {
  const std::vector<float> values = Fill(RandomValues(1, "x", 1), 0, 4);

  EXPECT_NE(values, Fill(RandomValues(2, "x", 1), 0, 4));
  EXPECT_NE(values, Fill(RandomValues(uint64_t{1} << 32 | 1, "x", 1), 0, 4));
  EXPECT_NE(values, Fill(RandomValues(1, "y", 1), 0, 4));
  EXPECT_EQ(values, Fill(RandomValues(1, "x", 1), 0, 4));
}

}  // namespace
}  // namespace peerage::transform
