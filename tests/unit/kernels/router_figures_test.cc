#include "model/kernels/router_figures.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "tests/support/nan.h"

namespace peerage::kernels {
namespace {

// Scores of both halves, and some picked experts.
struct Routed {
  Routed(int n, int k, float scale, uint32_t first = 0) : first_id(first), scratch(2 * n) {
    std::mt19937 random(31 * n + k);
    std::normal_distribution<float> normal;
    for (auto& half : scores) {
      half.resize(n);
      for (float& score : half) score = scale * normal(random);
    }
    for (int i = 0; i < k; ++i) ids.push_back(first + (uint64_t{7919} * i + 3) % (n * n));
  }

  ProductKeyFiguresArgs Args() {
    return {.scores = {scores[0], scores[1]}, .ids = ids, .first_id = first_id, .scratch = scratch};
  }

  std::vector<float> scores[2];
  std::vector<uint32_t> ids;
  uint32_t first_id;
  std::vector<float> scratch;
};

TEST(RouterFiguresTest, ProductKeysAreWhatAllExpertsGive) {
  for (const int n : {1, 2, 3, 31, 33, 257}) {
    for (const float scale : {0.0f, 0.5f, 4.0f, 200.0f}) {
      Routed routed(n, std::min(n * n, 16), scale, /*first=*/5 * n * n);
      const RouterFigures actual = ProductKeyFigures(routed.Args());
      const RouterFigures expected = ProductKeyFiguresReference(routed.Args());
      EXPECT_NEAR(actual.kept_mass, expected.kept_mass, 1e-6) << n << ", " << scale;
      EXPECT_NEAR(actual.entropy, expected.entropy, 1e-6) << n << ", " << scale;
    }
  }
}

TEST(RouterFiguresTest, AnEvenRouterIsUnsureAndASureOneIsNot) {
  Routed even(32, 16, 0);
  EXPECT_NEAR(ProductKeyFigures(even.Args()).entropy, 1, 1e-6);
  EXPECT_NEAR(ProductKeyFigures(even.Args()).kept_mass, 16.0 / 1024, 1e-6);

  Routed sure(32, 1, 0);
  sure.scores[0][4] = sure.scores[1][9] = 100;
  sure.ids = {4 * 32 + 9};
  EXPECT_NEAR(ProductKeyFigures(sure.Args()).entropy, 0, 1e-6);
  EXPECT_NEAR(ProductKeyFigures(sure.Args()).kept_mass, 1, 1e-6);
}

TEST(RouterFiguresTest, WhatIsNotFiniteIsUnknown) {
  for (const float odd :
       {kNan, std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()}) {
    for (auto& half : {0, 1}) {
      Routed routed(5, 3, 1);
      routed.scores[half][2] = odd;
      EXPECT_TRUE(std::isnan(ProductKeyFigures(routed.Args()).entropy)) << odd;
      EXPECT_TRUE(std::isnan(ProductKeyFigures(routed.Args()).kept_mass)) << odd;
    }
  }
}

TEST(RouterFiguresTest, GatesAreTheirOwnDistribution) {
  const std::vector<float> p = {0.5, 0.25, 0.25, 0};
  const std::vector<uint32_t> ids = {0, 2};
  const RouterFigures figures = GateFigures(p, ids);
  EXPECT_FLOAT_EQ(figures.kept_mass, 0.75f);
  EXPECT_FLOAT_EQ(figures.entropy, 0.75f);  // 1.5 ln 2 / ln 4
  EXPECT_FLOAT_EQ(GateFigures(std::vector<float>{1}, std::vector<uint32_t>{0}).entropy, 0);
  EXPECT_TRUE(std::isnan(GateFigures(std::vector<float>{kNan, 1, 1}, ids).entropy));
}

}  // namespace
}  // namespace peerage::kernels
