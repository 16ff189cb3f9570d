#include "model/experts/expert_figures.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <string>
#include <vector>

namespace peerage {
namespace {

using Counts = std::vector<uint64_t>;
using Scores = std::vector<double>;

// The definitions, as they are written, in long double and quadratic time where that is plainest.
ExpertFigures BruteForce(const Counts& counts, const Scores& scores) {
  const size_t n = counts.size();
  ExpertFigures figures;
  long double selections = 0;
  long double differences = 0;
  size_t used = 0;
  for (size_t i = 0; i < n; ++i) {
    figures.selections += counts[i];
    selections += counts[i];
    used += counts[i] > 0;
    for (size_t j = 0; j < n; ++j) {
      const long double a = counts[i];
      const long double b = counts[j];
      differences += std::abs(a - b);
    }
  }
  long double none = 1;  // the chance that a uniform router leaves an expert out
  for (uint64_t s = 0; s < figures.selections && s < 1'000'000; ++s) none *= 1 - 1.0L / n;
  figures.used_ratio = static_cast<double>(used) / n;
  figures.used_expected_ratio = static_cast<double>(1 - none);
  figures.gini = static_cast<double>(differences / (2 * n * selections));
  figures.unevenness_bias_nats = static_cast<double>((n - 1) / (2 * selections));
  Counts sorted = counts;
  std::sort(sorted.rbegin(), sorted.rend());
  const size_t top = static_cast<size_t>(std::ceil(static_cast<double>(n) / 100));
  long double hottest = 0;
  for (size_t i = 0; i < top; ++i) hottest += sorted[i];
  figures.top_1_percent_share = static_cast<double>(hottest / selections);

  const long double sum = std::accumulate(scores.begin(), scores.end(), 0.0L);
  long double entropy = 0;
  for (const double score : scores) {
    if (score > 0) entropy -= score / sum * std::log(score / sum);
  }
  figures.unevenness_nats = static_cast<double>(std::log(static_cast<long double>(n)) - entropy);
  figures.effective_experts = static_cast<double>(std::exp(entropy));
  return figures;
}

void ExpectNear(const ExpertFigures& actual, const ExpertFigures& expected) {
  EXPECT_EQ(actual.selections, expected.selections);
  EXPECT_DOUBLE_EQ(actual.used_ratio, expected.used_ratio);
  EXPECT_NEAR(actual.used_expected_ratio, expected.used_expected_ratio, 1e-12);
  EXPECT_NEAR(actual.unevenness_nats, expected.unevenness_nats, 1e-12);
  EXPECT_NEAR(actual.unevenness_bias_nats, expected.unevenness_bias_nats, 1e-12);
  EXPECT_NEAR(actual.effective_experts, expected.effective_experts,
              1e-11 * expected.effective_experts);
  EXPECT_NEAR(actual.gini, expected.gini, 1e-12);
  EXPECT_NEAR(actual.top_1_percent_share, expected.top_1_percent_share, 1e-12);
}

struct Distribution {
  std::string name;
  Counts counts;
  double score_of_each = 0.25;
};

void PrintTo(const Distribution& distribution, std::ostream* os) { *os << distribution.name; }

Counts Zipf(size_t n, double scale) {
  Counts counts(n);
  for (size_t i = 0; i < n; ++i) counts[i] = static_cast<uint64_t>(scale / (1 + (i * 7) % n));
  return counts;
}

Counts OneOf(size_t n, size_t which, uint64_t count) {
  Counts counts(n);
  counts[which] = count;
  return counts;
}

Counts TwoPoint(size_t n, uint64_t low, uint64_t high) {
  Counts counts(n, low);
  for (size_t i = 0; i < n; i += 4) counts[i] = high;
  return counts;
}

Counts Random(size_t n, uint64_t most) {
  std::mt19937_64 random(20240704);
  Counts counts(n);
  for (uint64_t& count : counts) count = random() % (most + 1);
  return counts;
}

class ExpertFiguresOfTest : public ::testing::TestWithParam<Distribution> {};

TEST_P(ExpertFiguresOfTest, AreWhatTheirDefinitionsSay) {
  const Distribution& distribution = GetParam();
  std::mt19937 random(7);
  Scores even;
  Scores uneven;
  for (const uint64_t count : distribution.counts) {
    even.push_back(distribution.score_of_each * static_cast<double>(count));
    uneven.push_back(even.back() * (1 + random() % 100));
  }
  for (const Scores& scores : {even, uneven}) {
    ExpectNear(ComputeExpertFigures(distribution.counts, scores),
               BruteForce(distribution.counts, scores));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Distributions, ExpertFiguresOfTest,
    ::testing::Values(Distribution{"uniform", Counts(1000, 3)},
                      Distribution{"one_expert_of_many", OneOf(529, 17, 1000)},
                      Distribution{"one_selection", OneOf(1024, 0, 1)},
                      Distribution{"a_single_expert", {5}}, Distribution{"two_experts", {1, 9}},
                      Distribution{"zipf", Zipf(997, 5000)},
                      Distribution{"zipf_with_large_counts", Zipf(300, 4e9)},
                      Distribution{"two_points", TwoPoint(400, 1, 50)},
                      Distribution{"two_points_around_the_counted_ones",
                                   TwoPoint(400, 65535, 65537)},
                      Distribution{"few_of_one_hundred_and_one", TwoPoint(101, 0, 2)},
                      Distribution{"random", Random(1500, 9)},
                      Distribution{"tiny_scores", Random(200, 3), 0x1p-32}));

TEST(ExpertFiguresTest, OfAnEvenUsageLoseNothingInRounding) {
  const ExpertFigures figures = ComputeExpertFigures(Counts(1 << 20, 2), Scores(1 << 20, 0.7));

  EXPECT_EQ(figures.used_ratio, 1);
  EXPECT_LT(figures.unevenness_nats, 1e-16);
  EXPECT_EQ(figures.effective_experts, 1 << 20);
  EXPECT_EQ(figures.gini, 0);
  EXPECT_NEAR(figures.used_expected_ratio, 1 - std::exp(-2.0), 1e-6);
}

TEST(ExpertFiguresTest, OfNothingAreZero) {
  const ExpertFigures figures = ComputeExpertFigures(Counts(64), Scores(64));

  EXPECT_EQ(figures.used_ratio, 0);
  EXPECT_EQ(figures.used_expected_ratio, 0);
  EXPECT_EQ(figures.unevenness_nats, 0);
  EXPECT_EQ(figures.unevenness_bias_nats, 0);
  EXPECT_EQ(figures.effective_experts, 0);
  EXPECT_EQ(figures.gini, 0);
  EXPECT_EQ(figures.top_1_percent_share, 0);
}

TEST(ExpertFiguresTest, CountPicksWhoseWeightsAreAllZero) {
  const ExpertFigures figures = ComputeExpertFigures({3, 1, 0, 0}, Scores(4));

  EXPECT_EQ(figures.used_ratio, 0.5);
  EXPECT_GT(figures.gini, 0);
  EXPECT_EQ(figures.unevenness_nats, 0);
  EXPECT_EQ(figures.effective_experts, 0);
}

// By hand: z = (1/2, 1/4, 1/4, 0); ln 4 - 1.5 ln 2 = 0.5 ln 2.
TEST(ExpertFiguresTest, MatchesASumByHand) {
  const ExpertFigures figures = ComputeExpertFigures({4, 3, 1, 0}, {2, 1, 1, 0});

  EXPECT_DOUBLE_EQ(figures.unevenness_nats, 0.5 * std::log(2));
  EXPECT_DOUBLE_EQ(figures.effective_experts, 2 * std::sqrt(2));
  EXPECT_DOUBLE_EQ(figures.used_ratio, 0.75);
  EXPECT_DOUBLE_EQ(figures.unevenness_bias_nats, 3.0 / 16);
  EXPECT_DOUBLE_EQ(figures.gini, (2.0 * (0 + 2 + 9 + 16) - 5 * 8) / (4 * 8));
  EXPECT_DOUBLE_EQ(figures.top_1_percent_share, 0.5);
}

}  // namespace
}  // namespace peerage
