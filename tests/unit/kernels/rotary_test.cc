#include "model/kernels/rotary.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace peerage::kernels {
namespace {

TEST(RotaryTest, MatchesTheReferenceForBothLayouts) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  for (const bool interleaved : {false, true}) {
    for (const int head_dim : {2, 6, 8, 64, 80, 256}) {
      for (const int heads : {0, 1, 3, 9}) {
        SCOPED_TRACE(testing::Message()
                     << heads << " heads of " << head_dim << (interleaved ? ", interleaved" : ""));
        std::vector<float> cos(head_dim / 2), sin(head_dim / 2);
        RotaryAngles(1234, 10000, head_dim, cos.data(), sin.data());
        std::vector<float> x(heads * head_dim + 1, -7.0f);
        for (int i = 0; i < heads * head_dim; ++i) x[i] = normal(random);
        std::vector<float> expected = x;
        RotateReference({expected.data(), heads, head_dim, interleaved, cos.data(), sin.data()});

        Rotate({x.data(), heads, head_dim, interleaved, cos.data(), sin.data()});

        // Two products and a sum of values of about 1, each rounded.
        for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(x[i], expected[i], 1e-6) << i;
      }
    }
  }
}

TEST(RotaryTest, TurnsPairsByTheirAngle) {
  const float cos[] = {0, -1}, sin[] = {1, 0};  // a quarter, a half
  float halves[] = {1, 2, 3, 4};
  Rotate({halves, 1, 4, false, cos, sin});
  EXPECT_EQ(halves[0], -3);
  EXPECT_EQ(halves[2], 1);
  EXPECT_EQ(halves[1], -2);
  EXPECT_EQ(halves[3], -4);

  float neighbours[] = {1, 2, 3, 4};
  Rotate({neighbours, 1, 4, true, cos, sin});
  EXPECT_EQ(neighbours[0], -2);
  EXPECT_EQ(neighbours[1], 1);
  EXPECT_EQ(neighbours[2], -3);
  EXPECT_EQ(neighbours[3], -4);
}

TEST(RotaryTest, DoesNotTurnPositionZero) {
  float cos[4], sin[4];
  RotaryAngles(0, 10000, 8, cos, sin);
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(cos[i], 1);
    EXPECT_EQ(sin[i], 0);
  }
}

// Computed by the rotary embedding of Hugging Face transformers 4.57 (theta 100000, 64 per head),
// at position 8191: cos and sin of pairs 0, 1, 7 and 31.
TEST(RotaryTest, RoundsAnglesAsTransformersDoes) {
  float cos[32], sin[32];
  RotaryAngles(8191, 100000, 64, cos, sin);
  const struct {
    int pair;
    float cos, sin;
  } expected[] = {
      {0, -0.646390498f, -0.763006806f},
      {1, -0.196372911f, -0.980529308f},
      {7, 0.945766449f, 0.3248474f},
      {31, 0.993119121f, 0.117108725f},
  };
  for (const auto& e : expected) {
    EXPECT_NEAR(cos[e.pair], e.cos, 1e-7) << e.pair;
    EXPECT_NEAR(sin[e.pair], e.sin, 1e-7) << e.pair;
  }
}

TEST(RotaryTest, KeepsANanInItsPair) {
  const float cos[] = {0.6f, 0.6f}, sin[] = {0.8f, 0.8f};
  float x[] = {1, std::numeric_limits<float>::quiet_NaN(), 3, 4};
  Rotate({x, 1, 4, false, cos, sin});
  EXPECT_FALSE(std::isnan(x[0]) || std::isnan(x[2]));
  EXPECT_TRUE(std::isnan(x[1]) && std::isnan(x[3]));
}

}  // namespace
}  // namespace peerage::kernels
