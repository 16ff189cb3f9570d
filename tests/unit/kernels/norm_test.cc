#include "model/kernels/norm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "tests/unit/kernels/kernel_target.h"

namespace peerage::kernels {
namespace {

using Kernel = void (*)(const NormArgs&, int, int);

struct Norm {
  const char* name;
  Kernel fast;
  Kernel reference;
};
constexpr Norm kNorms[] = {{"RMSNorm", RmsNorm, RmsNormReference},
                           {"LayerNorm", LayerNorm, LayerNormReference}};

struct Rows {
  Rows(int rows, int width) : rows(rows), width(width), x(rows * (width + 2)), weight(width) {
    std::mt19937 random(width);
    std::normal_distribution<float> normal(0.3f);
    for (float& value : x) value = normal(random);
    for (float& value : weight) value = normal(random);
  }

  std::vector<float> Run(Kernel kernel) const {
    std::vector<float> y(rows * (width + 1), -7.0f);
    kernel({x.data(), size_t(width) + 2, weight.data(), 1e-5f, width, y.data(), size_t(width) + 1},
           0, rows);
    return y;
  }

  int rows, width;
  std::vector<float> x, weight;
};

TEST(NormTest, MatchesTheReferenceToTheLastRounding) {
  for (const Norm& norm : kNorms) {
    for (const int width : {0, 1, 3, 15, 16, 17, 31, 33, 257, 576}) {
      SCOPED_TRACE(testing::Message() << norm.name << " of " << width);
      const Rows rows(5, width);
      const std::vector<float> expected = rows.Run(norm.reference);
      ForEachTarget([&] {
        const std::vector<float> y = rows.Run(norm.fast);
        for (size_t i = 0; i < y.size(); ++i) EXPECT_FLOAT_EQ(y[i], expected[i]) << i;
      });
    }
  }
}

TEST(NormTest, GivesTheSameBitsForEveryInstructionSet) {
  for (const Norm& norm : kNorms) {
    for (const int width : {1, 33, 576, 1000}) {
      const Rows rows(3, width);
      const std::vector<float> expected = rows.Run(norm.fast);
      ForEachTarget([&] {
        const std::vector<float> y = rows.Run(norm.fast);
        EXPECT_EQ(std::memcmp(y.data(), expected.data(), y.size() * sizeof(float)), 0) << width;
      });
    }
  }
}

TEST(NormTest, WorksInPlaceOnAPartOfTheRows) {
  for (const Norm& norm : kNorms) {
    Rows rows(4, 35);
    const std::vector<float> before = rows.x, expected = rows.Run(norm.fast);

    norm.fast({rows.x.data(), 37, rows.weight.data(), 1e-5f, 35, rows.x.data(), 37}, 1, 3);

    for (int row = 0; row < 4; ++row) {
      for (int i = 0; i < 37; ++i) {
        const bool normal = row >= 1 && row < 3 && i < 35;
        EXPECT_EQ(rows.x[row * 37 + i], normal ? expected[row * 36 + i] : before[row * 37 + i]);
      }
    }
  }
}

TEST(NormTest, SurvivesSquaresBeyondF32) {
  Rows rows(1, 40);
  for (float& x : rows.x) x = 1e30f;
  std::fill(rows.weight.begin(), rows.weight.end(), 2.0f);
  ForEachTarget([&] {
    const std::vector<float> y = rows.Run(RmsNorm);
    for (int i = 0; i < 40; ++i) EXPECT_FLOAT_EQ(y[i], 2.0f);
  });
}

TEST(NormTest, TurnsARowOfZerosIntoZeros) {
  Rows rows(1, 33);
  std::fill(rows.x.begin(), rows.x.end(), 0.0f);
  for (const Norm& norm : kNorms) {
    ForEachTarget([&] {
      const std::vector<float> y = rows.Run(norm.fast);
      for (int i = 0; i < 33; ++i) EXPECT_EQ(y[i], 0.0f);
    });
  }
}

TEST(NormTest, SpreadsANanOverItsRowOnly) {
  for (const Norm& norm : kNorms) {
    Rows rows(3, 33);
    rows.x[1 * 35 + 32] = std::numeric_limits<float>::quiet_NaN();
    ForEachTarget([&] {
      const std::vector<float> y = rows.Run(norm.fast);
      for (int i = 0; i < 3 * 34; ++i) {
        if (i % 34 == 33) continue;  // between the rows
        EXPECT_EQ(std::isnan(y[i]), i / 34 == 1) << i;
      }
    });
  }
}

}  // namespace
}  // namespace peerage::kernels
