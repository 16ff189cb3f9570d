#include "model/checkpoint/layout/stored_values.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace peerage {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::IsEmpty;

constexpr TensorType kPlainTypes[] = {TensorType::kF32, TensorType::kBF16, TensorType::kF16};

std::vector<uint8_t> Stored(TensorType type, const std::vector<float>& values) {
  std::vector<uint8_t> stored(RowBytes(type, values.size()));
  StoreFloats(type, values, absl::MakeSpan(stored));
  return stored;
}

TEST(PlainValuesTest, SurviveARoundTrip) {
  const std::vector<float> values = {0, 1, -2.5f, 0.0078125f, 384};
  for (const TensorType type : kPlainTypes) {
    EXPECT_THAT(FloatsOf(type, Stored(type, values)), ElementsAreArray(values));
    EXPECT_THAT(FloatsOf(type, Stored(type, {})), IsEmpty());
  }
}

TEST(PlainValuesTest, AreRoundedToTheNearest) {
  const auto rounded = [](TensorType type, float value) {
    return FloatsOf(type, Stored(type, {value}));
  };
  EXPECT_THAT(rounded(TensorType::kBF16, 1.0f + 0x1p-8f), ElementsAre(1.0f));
  EXPECT_THAT(rounded(TensorType::kBF16, 1.0f + 0x1.8p-8f), ElementsAre(1.0f + 0x1p-7f));
  EXPECT_THAT(rounded(TensorType::kF16, 1.0f + 0x1p-11f), ElementsAre(1.0f));
  EXPECT_THAT(rounded(TensorType::kF16, 65519.0f), ElementsAre(65504.0f));
  EXPECT_TRUE(std::isinf(rounded(TensorType::kF16, 65520.0f)[0]));
}

TEST(PlainValuesTest, AreFiniteOrNot) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  for (const TensorType type : kPlainTypes) {
    EXPECT_TRUE(AllFinite(type, Stored(type, {})));
    EXPECT_TRUE(AllFinite(type, Stored(type, {0, -1, 65504, 6e-8f})));
    for (const float bad : {kInfinity, -kInfinity, kNan, -kNan}) {
      EXPECT_FALSE(AllFinite(type, Stored(type, {bad, 0, 1})));
      EXPECT_FALSE(AllFinite(type, Stored(type, {0, 1, bad})));
    }
  }
}

}  // namespace
}  // namespace peerage
