#include "model/nn/cpu/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "model/kernels/philox.h"
#include "tests/unit/kernels/kernel_target.h"
#include "tests/unit/nn/cpu/reference_sampler.h"

namespace peerage::nn::cpu {
namespace {

// A slot, made of what a test is about.
class Sampler : public Slot {
 public:
  Sampler(const SamplingParams& sampling, const std::vector<TokenId>& prompt,
          uint32_t candidate = 0)
      : Slot({.sampling = sampling, .prompt = prompt, .candidate = candidate}) {}
};

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::Not;

using Logits = std::vector<float>;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

Logits RandomLogits(int n, float deviation = 3) {
  std::mt19937 random(n);
  std::normal_distribution<float> normal(0, deviation);
  Logits logits(n);
  for (float& x : logits) x = normal(random);
  return logits;
}

// Logits of given probabilities.
Logits LogOf(const std::vector<double>& probabilities) {
  Logits logits;
  for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p)));
  return logits;
}

TokenId Draw(Sampler& sampler, Logits logits) {
  SamplerScratch scratch;
  return Sample(sampler, logits, scratch);
}

std::vector<TokenId> DrawMany(Sampler& sampler, const Logits& logits, int n) {
  std::vector<TokenId> tokens;
  SamplerScratch scratch(logits.size());
  for (int i = 0; i < n; ++i) {
    Logits copy = logits;
    tokens.push_back(Sample(sampler, copy, scratch));
  }
  return tokens;
}

// Every token that 3000 draws show.
std::set<TokenId> Support(const SamplingParams& params, const Logits& logits) {
  Sampler sampler(params, {});
  const std::vector<TokenId> tokens = DrawMany(sampler, logits, 3000);
  return {tokens.begin(), tokens.end()};
}

TokenId Greedy(SamplingParams params, const Logits& logits, std::vector<TokenId> prompt = {}) {
  params.temperature = 0;
  Sampler sampler(params, prompt);
  return Draw(sampler, logits);
}

TEST(SamplerTest, GreedyTakesTheHighestLogitAndTheLowestIdOnTies) {
  EXPECT_EQ(Greedy({}, {1, 4, 2, 4}), 1u);
  EXPECT_EQ(Greedy({}, {-kInfinity, -3, -kInfinity}), 1u);
  EXPECT_EQ(Greedy({}, {0}), 0u);
}

TEST(SamplerTest, AddsTheBiasBeforeThePenalties) {
  // (-1 + 4) / 2 = 1.5; the other order would give -1 * 2 + 4 = 2.
  SamplingParams params{.repetition_penalty = 2, .logit_bias = {{0, 4.0f}}};
  EXPECT_EQ(Greedy(params, {-1, 1.8f}, {0}), 1u);
  EXPECT_EQ(Greedy(params, {-1, 1.4f}, {0}), 0u);
}

TEST(SamplerTest, RepetitionPenaltyDividesPositiveAndMultipliesNegativeLogitsOfSeenTokens) {
  const SamplingParams params{.repetition_penalty = 2};
  EXPECT_EQ(Greedy(params, {4, 2.1f}, {0}), 1u);
  EXPECT_EQ(Greedy(params, {4, 1.9f}, {0}), 0u);
  EXPECT_EQ(Greedy(params, {-1, -1.9f}, {0}), 1u);
  EXPECT_EQ(Greedy(params, {-1, -2.1f}, {0}), 0u);
  EXPECT_EQ(Greedy(params, {4, 2.1f}, {1}), 0u);
}

TEST(SamplerTest, RepetitionPenaltySeesGeneratedTokensToo) {
  Sampler sampler({.temperature = 0, .repetition_penalty = 2}, {});
  EXPECT_THAT(DrawMany(sampler, {4, 3, 1.8f}, 3), ElementsAre(0, 1, 0));
}

TEST(SamplerTest, RepetitionComesBeforeFrequencyAndPresence) {
  // Generated once: 6 / 2 - 1 - 0.5 = 1.5; the other order would give (6 - 1.5) / 2 = 2.25.
  const SamplingParams params{
      .temperature = 0, .repetition_penalty = 2, .frequency_penalty = 1, .presence_penalty = 0.5};
  Sampler sampler(params, {});
  EXPECT_EQ(Draw(sampler, {6, 0}), 0u);
  Sampler copy = sampler;
  EXPECT_EQ(Draw(copy, {6, 2}), 1u);
  EXPECT_EQ(Draw(sampler, {6, 1.4f}), 0u);
}

TEST(SamplerTest, FrequencyCountsOccurrencesAndPresenceDoesNot) {
  // 2.5, 1.5 and 0.5 against 0; -0.5 against 0; -0.5 against -1.
  Sampler frequency({.temperature = 0, .frequency_penalty = 1}, {});
  EXPECT_THAT(DrawMany(frequency, {2.5, 0}, 5), ElementsAre(0, 0, 0, 1, 0));
  Sampler presence({.temperature = 0, .presence_penalty = 2}, {});
  EXPECT_THAT(DrawMany(presence, {2.5, 0.4f}, 4), ElementsAre(0, 0, 0, 0));
  Sampler reward({.temperature = 0, .presence_penalty = -1}, {});
  EXPECT_THAT(DrawMany(reward, {1, 0.5f}, 2), ElementsAre(0, 0));
}

TEST(SamplerTest, FrequencyAndPresenceDoNotSeeThePrompt) {
  const SamplingParams params{
      .repetition_penalty = 1.0001f, .frequency_penalty = 5, .presence_penalty = 5};
  EXPECT_EQ(Greedy(params, {2, 1}, {0}), 0u);
}

TEST(SamplerTest, TopPLooksAtTheProbabilitiesAfterTemperature) {
  const Logits logits = LogOf({0.6, 0.3, 0.1});
  EXPECT_THAT(Support({.top_p = 0.55f}, logits), ElementsAre(0));
  // Square roots: 0.449, 0.318, 0.232.
  EXPECT_THAT(Support({.temperature = 2, .top_p = 0.55f}, logits), ElementsAre(0, 1));
}

TEST(SamplerTest, TopPIsTheMassOfWhatTopKKept) {
  const Logits logits = LogOf({0.4, 0.3, 0.2, 0.1});
  EXPECT_THAT(Support({.top_p = 0.5f}, logits), ElementsAre(0, 1));
  EXPECT_THAT(Support({.top_k = 2, .top_p = 0.5f}, logits), ElementsAre(0));
}

TEST(SamplerTest, TopPKeepsTheTokenThatCrossesAndTheLowerIdOnTies) {
  const Logits even(4, 1.0f);
  EXPECT_THAT(Support({.top_p = 0.26f}, even), ElementsAre(0, 1));
  EXPECT_THAT(Support({.top_p = 0.25f}, even), ElementsAre(0));
  EXPECT_THAT(Support({.top_p = 1e-9f}, even), ElementsAre(0));
  EXPECT_THAT(Support({.top_p = 0.99999994f}, even), ElementsAre(0, 1, 2, 3));
}

TEST(SamplerTest, TopKKeepsTheLowerIdOnTies) {
  EXPECT_THAT(Support({.top_k = 2}, {1, 3, 1, 1}), ElementsAre(0, 1));
  EXPECT_THAT(Support({.top_k = 1}, {1, 3, 3, 1}), ElementsAre(1));
  EXPECT_THAT(Support({.top_k = 4}, {1, 1, 1, 1}), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(Support({.top_k = 99}, {1, 1}), ElementsAre(0, 1));
}

TEST(SamplerTest, MinPIsRelativeToTheMostLikelyTokenAfterTemperature) {
  const Logits logits = LogOf({0.2, 0.4, 0.11, 0.29});
  EXPECT_THAT(Support({.min_p = 0.45f}, logits), ElementsAre(0, 1, 3));
  // Squares: 0.04, 0.16, 0.0121, 0.0841.
  EXPECT_THAT(Support({.temperature = 0.5f, .min_p = 0.45f}, logits), ElementsAre(1, 3));
  EXPECT_THAT(Support({.min_p = 0.999f}, logits), ElementsAre(1));
}

TEST(SamplerTest, MinPDoesNotChangeTheMassThatTopPSees) {
  const Logits logits = LogOf({0.5, 0.2, 0.1, 0.1, 0.1});
  // top_p keeps 0.5 and 0.2; of the rest min_p alone would keep nothing more.
  EXPECT_THAT(Support({.top_p = 0.65f, .min_p = 0.15f}, logits), ElementsAre(0, 1));
  EXPECT_THAT(Support({.top_p = 0.75f, .min_p = 0.3f}, logits), ElementsAre(0, 1));
}

TEST(SamplerTest, MasksUntilEnoughTokensAreGenerated) {
  Sampler sampler({.temperature = 0, .min_tokens = 2, .masked_ids = {1, 1, 3}}, {});
  EXPECT_THAT(DrawMany(sampler, {0, 9, 1, 8}, 4), ElementsAre(2, 2, 1, 1));
}

TEST(SamplerTest, NoBiasBringsAMaskedTokenBack) {
  const SamplingParams params{.logit_bias = {{1, 100.0f}}, .min_tokens = 1, .masked_ids = {1}};
  EXPECT_EQ(Greedy(params, {0, 9, 1}), 2u);
}

TEST(SamplerTest, IgnoresAMaskThatLeavesNothing) {
  const SamplingParams params{.min_tokens = 9, .masked_ids = {0, 1, 2, 1}};
  EXPECT_EQ(Greedy(params, {0, 9, 1}), 1u);
  EXPECT_EQ(Greedy({.min_tokens = 9, .masked_ids = {1}}, {-kInfinity, 9, -kInfinity}), 1u);
}

TEST(SamplerTest, SurvivesTheEdgesOfEveryParameter) {
  const Logits logits = {30, 29.9f, -40, 0, -kInfinity};
  const struct {
    const char* what;
    SamplingParams params;
    TokenId token;
  } cases[] = {
      {"the lowest temperature", {.temperature = 0.01f}, 0},
      {"a tiny top_p", {.temperature = 10, .top_p = 1e-30f}, 0},
      {"a bias upwards", {.temperature = 0.1f, .logit_bias = {{2, 100.0f}}}, 2},
      {"biases downwards",
       {.temperature = 0.1f, .logit_bias = {{0, -100.0f}, {1, -100.0f}, {2, -100.0f}}},
       3},
      {"a bias on a masked logit", {.temperature = 0.01f, .logit_bias = {{4, 100.0f}}}, 0},
      {"the highest repetition penalty", {.temperature = 0.01f, .repetition_penalty = 10}, 1},
      {"a tiny repetition penalty", {.temperature = 0.01f, .repetition_penalty = 1e-3f}, 0},
      {"a subnormal repetition penalty", {.temperature = 0.01f, .repetition_penalty = 1e-40f}, 0},
      {"the highest min_p", {.temperature = 1, .min_p = 0.99999994f}, 0},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.what);
    const std::vector<TokenId> prompt = {0, 2, 4};
    Sampler sampler(c.params, prompt);
    EXPECT_EQ(Draw(sampler, logits), c.token);
  }
  Sampler alone({.top_k = 5, .top_p = 0.5f, .min_p = 0.5f}, {});
  EXPECT_THAT(DrawMany(alone, {-1e30f}, 3), Each(0));
}

TEST(SamplerTest, APenaltyNeitherOverflowsNorRevivesAMaskedLogit) {
  Sampler tiny({.min_p = 0.5f, .repetition_penalty = 1e-40f}, std::vector<TokenId>{1});
  EXPECT_THAT(DrawMany(tiny, {5, 4, 3}, 3), Each(1));

  // Token 0 stays at -infinity, so the mask of token 1 leaves nothing and is ignored.
  const SamplingParams params{.repetition_penalty = 2, .min_tokens = 1, .masked_ids = {1}};
  EXPECT_EQ(Greedy(params, {-kInfinity, 5}, {0}), 1u);
}

struct Case {
  std::string name;
  SamplingParams params;
  Logits logits;
};

std::vector<Case> Cases() {
  const Logits small = RandomLogits(12, 1.5f), large = RandomLogits(2000, 2.5f);
  Logits tied = RandomLogits(300, 1);
  for (float& x : tied) x = std::round(x);
  return {
      {"plain", {}, small},
      {"hot", {.temperature = 2.5f}, small},
      {"cold", {.temperature = 0.3f}, small},
      {"top_k", {.top_k = 5}, small},
      {"top_p", {.top_p = 0.8f}, small},
      {"min_p", {.min_p = 0.03f}, small},
      {"ties", {.top_k = 40, .top_p = 0.9f}, tied},
      {"large", {.temperature = 0.8f}, large},
      {"large, top_k", {.temperature = 1.2f, .top_k = 50}, large},
      {"large, large top_k", {.temperature = 1.2f, .top_k = 700}, large},
      {"large, top_p", {.temperature = 1.1f, .top_p = 0.93f}, large},
      {"flat, top_p", {.temperature = 10, .top_p = 0.6f}, large},
      {"large, all", {.temperature = 0.9f, .top_k = 300, .top_p = 0.95f, .min_p = 0.01f}, large},
  };
}

// Pearson's test against the exact probabilities. Tokens that would come up less than 8 times are
// taken together. The bound is the chi-square quantile at 4 standard deviations (Wilson and
// Hilferty 1931); seeds are fixed.
TEST(SamplerTest, DrawsWithTheReferenceProbabilities) {
  constexpr int kDraws = 10'000;
  for (Case& c : Cases()) {
    SCOPED_TRACE(c.name);
    c.params.seed = 1234;
    const std::vector<double> p = ReferenceProbabilities(c.logits, c.params, {}, {});
    Sampler sampler(c.params, {});
    std::vector<int> counts(p.size());
    for (const TokenId token : DrawMany(sampler, c.logits, kDraws)) ++counts[token];
    double chi_square = 0, rare = 0;
    int cells = 0, rare_count = 0;
    for (size_t i = 0; i < p.size(); ++i) {
      if (p[i] == 0) {
        EXPECT_EQ(counts[i], 0) << "token " << i << " was cut";
        continue;
      }
      const double expected = p[i] * kDraws;
      if (expected < 8) {
        rare += expected;
        rare_count += counts[i];
        continue;
      }
      ++cells;
      chi_square += (counts[i] - expected) * (counts[i] - expected) / expected;
    }
    if (rare >= 8) {
      ++cells;
      chi_square += (rare_count - rare) * (rare_count - rare) / rare;
    }
    ASSERT_GE(cells, 2);
    const double freedom = cells - 1, ninth = 2 / (9 * freedom);
    EXPECT_LT(chi_square, freedom * std::pow(1 - ninth + 4 * std::sqrt(ninth), 3));
  }
}

// Not only the distribution: the very token that the inverse cumulative distribution has at the
// random number. Penalties change the logits with every token.
TEST(SamplerTest, DrawsTheTokenThatTheReferenceDraws) {
  const std::vector<TokenId> prompt = {3, 1, 7};
  for (Case& c : Cases()) {
    SCOPED_TRACE(c.name);
    c.params.seed = 0x0123456789abcdef;
    c.params.repetition_penalty = 1.2f;
    c.params.frequency_penalty = 0.3f;
    c.params.presence_penalty = -0.1f;
    c.params.logit_bias = {{2, 1.5f}, {5, -2.0f}};
    c.params.min_tokens = 4;
    c.params.masked_ids = {1};
    Sampler sampler(c.params, prompt, 3);
    std::vector<TokenId> generated;
    for (uint32_t step = 0; step < 25; ++step) {
      const std::vector<double> p = ReferenceProbabilities(c.logits, c.params, prompt, generated);
      const auto bits = Philox({step, 3, 0, 0}, {0x89abcdef, 0x01234567});
      double left = (bits[0] + bits[1] * 0x1p32) * 0x1p-64;
      TokenId expected = 0;
      while (left >= p[expected] && expected + 1 < p.size()) left -= p[expected++];

      const TokenId token = Draw(sampler, c.logits);

      ASSERT_EQ(token, expected) << "step " << step;
      generated.push_back(token);
    }
  }
}

TEST(SamplerTest, DrawsTheSameWithEveryInstructionSetAndAnyScratch) {
  const Logits logits = RandomLogits(50'257);
  const SamplingParams params{.temperature = 1.3f, .top_p = 0.98f, .seed = 5};
  Sampler first(params, {});
  const std::vector<TokenId> expected = DrawMany(first, logits, 50);
  kernels::ForEachTarget([&] {
    Sampler sampler(params, {}), other({.temperature = 3, .top_k = 7, .seed = 9}, {});
    SamplerScratch shared;
    for (const TokenId token : expected) {
      Logits copy = logits, few(40, 1.0f);
      Sample(other, few, shared);
      EXPECT_EQ(Sample(sampler, copy, shared), token);
    }
  });
}

TEST(SamplerTest, DrawsDependOnSeedAndCandidateAlone) {
  const Logits logits = RandomLogits(1000, 0.1f);
  Sampler a({.seed = 1}, {}), same({.seed = 1}, {}), seed({.seed = 2}, {}),
      high_seed({.seed = 1 + (uint64_t{1} << 32)}, {}), candidate({.seed = 1}, {}, 1);
  const std::vector<TokenId> tokens = DrawMany(a, logits, 20);
  EXPECT_EQ(DrawMany(same, logits, 20), tokens);
  EXPECT_NE(DrawMany(seed, logits, 20), tokens);
  EXPECT_NE(DrawMany(high_seed, logits, 20), tokens);
  EXPECT_NE(DrawMany(candidate, logits, 20), tokens);
}

// Two streams of 20,000 draws between two even tokens: they agree half of the time, within five
// standard deviations.
TEST(SamplerTest, StreamsOfCandidatesAreIndependent) {
  constexpr int kDraws = 20'000;
  Sampler first({.seed = 77}, {}), second({.seed = 77}, {}, 1);
  const std::vector<TokenId> a = DrawMany(first, {0, 0}, kDraws);
  const std::vector<TokenId> b = DrawMany(second, {0, 0}, kDraws);
  int equal = 0;
  for (int i = 0; i < kDraws; ++i) equal += a[i] == b[i];
  EXPECT_NEAR(equal, kDraws / 2, 5 * std::sqrt(kDraws) / 2);
}

TEST(SamplerTest, ACopyRemembersWhatWasGenerated) {
  Sampler sampler({.temperature = 0, .presence_penalty = 5, .min_tokens = 2, .masked_ids = {0}},
                  {});
  EXPECT_THAT(DrawMany(sampler, {9, 8, 7}, 1), ElementsAre(1));
  Sampler copy = sampler;
  EXPECT_THAT(DrawMany(copy, {9, 8, 7}, 2), ElementsAre(2, 0));
  EXPECT_THAT(DrawMany(sampler, {9, 8, 7}, 2), ElementsAre(2, 0));
}

}  // namespace
}  // namespace peerage::nn::cpu
