#include "train/kernels/pair_picks.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "tests/unit/kernels/kernel_target.h"
#include "train/kernels/product_key_sums.h"

namespace peerage::kernels {
namespace {

struct Picks {
  std::vector<float> sums;
  std::vector<int64_t> ids;
};

struct QueryScores {
  int64_t n, listed, k, queries;
  std::vector<float> scores[2];  // [n][queries]

  Picks Find() const {
    Picks picks{std::vector<float>(queries * k), std::vector<int64_t>(queries * k)};
    PairPicks({n,
               listed,
               k,
               queries,
               {scores[0].data(), scores[1].data()},
               picks.sums.data(),
               picks.ids.data(),
               k});
    return picks;
  }

  // Each query by itself, in f32 as above.
  Picks Expected() const {
    Picks picks{std::vector<float>(queries * k), std::vector<int64_t>(queries * k)};
    for (int64_t q = 0; q < queries; ++q) {
      std::vector<float> row(n), values(2 * listed);
      std::vector<int32_t> ids(2 * listed);
      for (int half = 0; half < 2; ++half) {
        for (int64_t i = 0; i < n; ++i) row[i] = scores[half][i * queries + q];
        BestOf({row.data(), n, listed}, {&values[half * listed], &ids[half * listed]});
      }
      BestSums({n, listed, k, 1}, values.data(), ids.data(),
               BestSumsOut<float>{&picks.sums[q * k], &picks.ids[q * k]});
    }
    return picks;
  }
};

template <typename Draw>
QueryScores MakeScores(int64_t n, int64_t listed, int64_t k, int64_t queries, const Draw& draw) {
  QueryScores c{n, listed, k, queries};
  for (auto& half : c.scores) {
    for (int64_t i = 0; i < n * queries; ++i) half.push_back(draw());
  }
  return c;
}

void ExpectFound(const QueryScores& c) {
  const Picks expected = c.Expected();
  ForEachTarget([&] {
    const Picks found = c.Find();
    EXPECT_EQ(found.ids, expected.ids);
    for (size_t i = 0; i < found.sums.size(); ++i) {
      EXPECT_TRUE(found.sums[i] == expected.sums[i] ||
                  (std::isnan(found.sums[i]) && std::isnan(expected.sums[i])))
          << i << ": " << found.sums[i] << " " << expected.sums[i];
    }
  });
}

TEST(PairPicksTest, AreThoseOfEveryQueryAlone) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  for (const auto& [n, listed, k] :
       {std::tuple{1, 1, 1}, std::tuple{5, 3, 7}, std::tuple{16, 16, 16}, std::tuple{17, 16, 16},
        std::tuple{128, 16, 16}, std::tuple{300, 4, 16}, std::tuple{300, 16, 3},
        std::tuple{1024, 16, 16}}) {
    for (const int queries : {1, 7, 15, 16, 17, 40}) {
      SCOPED_TRACE(testing::Message() << n << " " << listed << " " << k << " " << queries);
      ExpectFound(MakeScores(n, listed, k, queries, [&] { return normal(random); }));
    }
  }
}

TEST(PairPicksTest, EqualSumsAreInOrderOfIds) {
  std::mt19937 random(2);
  // Few values, so that many sums are equal; both zeros among them.
  for (const int values : {1, 2, 3, 9, 40}) {
    SCOPED_TRACE(values);
    ExpectFound(MakeScores(50, 16, 16, 20, [&] {
      return (static_cast<float>(random() % values) - 1) * (random() % 2 == 0 ? 1.0f : -1.0f);
    }));
  }
  // Scores that differ, and sums that do not: one half is too large to see the other.
  ExpectFound(MakeScores(64, 16, 16, 20, [&] { return 1e8f + static_cast<float>(random() % 64); }));
}

TEST(PairPicksTest, ScoresThatDifferInTheirLastBitsAreInOrder) {
  std::mt19937 random(4);
  for (const float scale : {1.0f, -1.0f, 1e-38f, 1e30f}) {
    SCOPED_TRACE(scale);
    ExpectFound(MakeScores(128, 16, 16, 40, [&] {
      return scale * (1 + static_cast<float>(random() % 300) * 0x1p-23f);
    }));
  }
  // Scores that are numbers, and sums that are not.
  ExpectFound(MakeScores(64, 16, 16, 20, [&] {
    return (random() % 3 == 0 ? -1 : 1) * 3e38f * static_cast<float>(random() % 1000) / 1000;
  }));
}

TEST(PairPicksTest, WhatIsNoNumberComesLast) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  for (const int one_in : {2, 5, 60}) {
    SCOPED_TRACE(one_in);
    ExpectFound(MakeScores(40, 16, 16, 24, [&] {
      if (random() % one_in != 0) return normal(random);
      const float odd[] = {kNan, -kNan, kInfinity, -kInfinity};
      return odd[random() % 4];
    }));
  }
}

}  // namespace
}  // namespace peerage::kernels
