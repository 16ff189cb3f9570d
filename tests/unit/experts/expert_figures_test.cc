#include "model/experts/expert_figures.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace peerage {
namespace {

using Counts = std::vector<uint64_t>;
using Scores = std::vector<double>;

// The definitions, as they are written, in long double and quadratic time where that is plainest.
ExpertFigures BruteForce(const Counts& counts, const Scores& scores, double squared_scores) {
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
  figures.unused = n - used;
  Counts sorted = counts;
  std::sort(sorted.rbegin(), sorted.rend());
  for (const size_t parts : {1000, 100, 10}) {
    const size_t top = (n + parts - 1) / parts;
    const long double hottest = std::accumulate(sorted.begin(), sorted.begin() + top, 0.0L);
    figures.top_share[parts == 1000  ? 0
                      : parts == 100 ? 1
                                     : 2] = static_cast<double>(hottest / selections);
  }

  const auto unevenness = [n](const auto& uses) {
    const long double sum = std::accumulate(uses.begin(), uses.end(), 0.0L);
    long double entropy = 0;
    for (const long double use : uses) {
      if (use > 0) entropy -= use / sum * std::log(use / sum);
    }
    return static_cast<double>(std::log(static_cast<long double>(n)) - entropy);
  };
  const double sum = std::accumulate(scores.begin(), scores.end(), 0.0);
  figures.by_count = {unevenness(counts), ExpectedUnevenness(n, double(selections))};
  figures.by_score = {unevenness(scores), ExpectedUnevenness(n, sum * sum / squared_scores)};
  figures.effective_experts = n * std::exp(-figures.by_score.nats);
  return figures;
}

void ExpectNear(const ExpertFigures& actual, const ExpertFigures& expected) {
  EXPECT_EQ(actual.selections, expected.selections);
  EXPECT_DOUBLE_EQ(actual.used_ratio, expected.used_ratio);
  EXPECT_NEAR(actual.used_expected_ratio, expected.used_expected_ratio, 1e-12);
  EXPECT_EQ(actual.unused, expected.unused);
  for (const auto figure : {&ExpertFigures::by_count, &ExpertFigures::by_score}) {
    EXPECT_NEAR((actual.*figure).nats, (expected.*figure).nats, 1e-12);
    EXPECT_NEAR((actual.*figure).expected_nats, (expected.*figure).expected_nats, 1e-12);
  }
  EXPECT_NEAR(actual.effective_experts, expected.effective_experts,
              1e-11 * expected.effective_experts);
  EXPECT_NEAR(actual.gini, expected.gini, 1e-12);
  for (size_t i = 0; i < kTopShares.size(); ++i) {
    EXPECT_NEAR(actual.top_share[i], expected.top_share[i], 1e-12) << kTopShares[i];
  }
}

ExpertFigures FiguresOf(const Counts& counts, const Scores& scores, double squared_scores = 0) {
  return ComputeExpertFigures(
      {.selections = counts, .scores = scores, .squared_scores = squared_scores});
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
    const double squared_scores = 0.3 * std::accumulate(scores.begin(), scores.end(), 0.0);
    ExpectNear(FiguresOf(distribution.counts, scores, squared_scores),
               BruteForce(distribution.counts, scores, squared_scores));
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
  const ExpertFigures figures = FiguresOf(Counts(1 << 20, 2), Scores(1 << 20, 0.7));

  EXPECT_EQ(figures.used_ratio, 1);
  EXPECT_LT(figures.by_score.nats, 1e-16);
  EXPECT_EQ(figures.effective_experts, 1 << 20);
  EXPECT_EQ(figures.gini, 0);
  EXPECT_NEAR(figures.used_expected_ratio, 1 - std::exp(-2.0), 1e-6);
}

TEST(ExpertFiguresTest, OfNothingAreZero) {
  const ExpertFigures figures = FiguresOf(Counts(64), Scores(64));

  EXPECT_EQ(figures.used_ratio, 0);
  EXPECT_EQ(figures.unused, 64u);
  EXPECT_EQ(figures.used_expected_ratio, 0);
  EXPECT_EQ(figures.by_count.nats, 0);
  EXPECT_EQ(figures.by_count.expected_nats, 0);
  EXPECT_EQ(figures.by_score.nats, 0);
  EXPECT_EQ(figures.by_score.expected_nats, 0);
  EXPECT_EQ(figures.effective_experts, 0);
  EXPECT_EQ(figures.gini, 0);
  EXPECT_EQ(figures.top_share, (std::array<double, 3>{}));
}

TEST(ExpertFiguresTest, CountPicksWhoseWeightsAreAllZero) {
  const ExpertFigures figures = FiguresOf({3, 1, 0, 0}, Scores(4));

  EXPECT_EQ(figures.used_ratio, 0.5);
  EXPECT_GT(figures.gini, 0);
  EXPECT_EQ(figures.by_score.nats, 0);
  EXPECT_EQ(figures.effective_experts, 0);
}

// By hand: z = (1/2, 1/4, 1/4, 0); ln 4 - 1.5 ln 2 = 0.5 ln 2.
TEST(ExpertFiguresTest, MatchesASumByHand) {
  const ExpertFigures figures = FiguresOf({4, 3, 1, 0}, {2, 1, 1, 0}, 4.0 / 3);

  EXPECT_DOUBLE_EQ(figures.by_score.nats, 0.5 * std::log(2));
  EXPECT_DOUBLE_EQ(figures.effective_experts, 2 * std::sqrt(2));
  EXPECT_DOUBLE_EQ(figures.used_ratio, 0.75);
  EXPECT_EQ(figures.unused, 1u);
  EXPECT_DOUBLE_EQ(figures.by_count.expected_nats, ExpectedUnevenness(4, 8));
  EXPECT_DOUBLE_EQ(figures.by_score.expected_nats, ExpectedUnevenness(4, 12));
  EXPECT_DOUBLE_EQ(figures.gini, (2.0 * (0 + 2 + 9 + 16) - 5 * 8) / (4 * 8));
  EXPECT_DOUBLE_EQ(figures.top_share[1], 0.5);
}

// An even router's figures, from simulated tokens whose heads pick `top_k` different experts each.
class EvenRouter {
 public:
  EvenRouter(uint32_t experts, uint32_t top_k, uint32_t seed = 20240704)
      : top_k_(top_k), random_(seed), counts_(experts) {}

  void Pick(uint64_t draws) {
    for (uint64_t draw = 0; draw < draws; ++draw) {
      std::set<uint64_t> picks;
      while (picks.size() < top_k_) picks.insert(random_() % counts_.size());
      for (const uint64_t expert : picks) ++counts_[expert];
    }
  }

  ExpertFigures Figures() const {
    const Scores scores(counts_.begin(), counts_.end());
    return ComputeExpertFigures(
        {.selections = counts_,
         .scores = scores,
         .squared_scores = std::accumulate(scores.begin(), scores.end(), 0.0),
         .top_k = top_k_});
  }

 private:
  const uint32_t top_k_;
  std::mt19937_64 random_;
  Counts counts_;
};

// What chance shows is what is expected, for fewer selections than experts and for many more.
TEST(ExpertFiguresTest, OfAnEvenRouterAreWhatIsExpected) {
  constexpr uint32_t kExperts = 1 << 16;
  for (const double selections_per_expert : {0.05, 0.0625, 0.25, 1.0, 4.0, 16.0}) {
    EvenRouter router(kExperts, 1);
    router.Pick(static_cast<uint64_t>(selections_per_expert * kExperts));
    const ExpertFigures figures = router.Figures();
    SCOPED_TRACE(selections_per_expert);
    for (const auto figure : {&ExpertFigures::by_count, &ExpertFigures::by_score}) {
      EXPECT_NEAR((figures.*figure).nats, (figures.*figure).expected_nats,
                  0.01 * (figures.*figure).expected_nats);
    }
    EXPECT_NEAR(figures.used_ratio, figures.used_expected_ratio, 0.01);
  }
}

// With few experts it shows that a head does not pick an expert twice.
TEST(ExpertFiguresTest, ExpectDifferentPicksOfAToken) {
  double used = 0, expected = 0;
  for (int run = 0; run < 1000; ++run) {
    EvenRouter router(24, 16, run);
    router.Pick(2);
    used += router.Figures().used_ratio / 1000;
    expected = router.Figures().used_expected_ratio;
  }
  EXPECT_NEAR(expected, 1 - 1.0 / 9, 1e-12);
  EXPECT_NEAR(used, expected, 0.005);
}

// Two heads with 10 experts each pick 2 of their own: after 3 tokens 8^3 of 10^3 are left.
TEST(ExpertFiguresTest, ExpectEachHeadToPickOfItsOwn) {
  Counts counts(20);
  counts[3] = 6;
  counts[15] = 6;
  const Scores scores(20, 1);
  const ExpertFigures figures =
      ComputeExpertFigures({.selections = counts, .scores = scores, .top_k = 2, .expert_sets = 2});
  EXPECT_NEAR(figures.used_expected_ratio, 1 - 0.512, 1e-12);
}

// By the definition, in long double and without a window around the mean.
TEST(ExpectedUnevennessTest, IsItsDefinition) {
  for (const double mean : {1e-6, 1e-3, 0.06, 0.5, 1.0, 2.5, 30.0, 999.0, 9'999.0, 10'001.0}) {
    const long double m = mean;
    long double sum = 0;
    for (int c = 2; c < 20'000; ++c) {
      sum += std::exp(c * std::log(m) - m - std::lgamma(c + 1.0L)) * c *
             std::log(static_cast<long double>(c));
    }
    const auto expected = static_cast<double>(sum / m - std::log(m));
    EXPECT_NEAR(ExpectedUnevenness(1e9, mean * 1e9), expected, 1e-9 * (1 + expected)) << mean;
  }
}

// The figures of the metrics contract: at N = 65,536 and S / N = 0.06.
TEST(ExpectedUnevennessTest, IsRightForFewerSelectionsThanExperts) {
  EXPECT_NEAR(ExpectedUnevenness(65'536, 0.06 * 65'536), 2.83, 0.03);
}

TEST(ExpectedUnevennessTest, OfOneSelectionIsThatOfOneExpert) {
  EXPECT_NEAR(ExpectedUnevenness(1 << 20, 1), std::log(1 << 20), 1e-5);
  EXPECT_LE(ExpectedUnevenness(1, 1), 0);
}

}  // namespace
}  // namespace peerage
