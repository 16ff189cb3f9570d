#include "model/nn/cpu/mixture_router.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>
#include <vector>

#include "tests/support/layer_bench.h"
#include "tests/support/mixture_models.h"
#include "tests/support/nan.h"
#include "tests/support/odd_models.h"

namespace peerage::nn::cpu {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

constexpr int kRouted = 33;

// A router whose logits are what a test wants: one row an expert, of which u picks one column.
class MixtureRouterTest : public testing::Test {
 protected:
  void Load(const std::vector<std::vector<float>>& logits, int top_k, bool normalize) {
    const int experts = static_cast<int>(logits[0].size());
    checkpoint_ = std::make_unique<MemoryCheckpoint>(
        OddModel({}, {MixtureFfnPart(experts, top_k, normalize)}), 1);
    std::vector<float>& weight = checkpoint_->values("model.layers.0.ffn.mixture.router.weight");
    std::fill(weight.begin(), weight.end(), 0.0f);
    for (size_t token = 0; token < logits.size(); ++token) {
      for (int e = 0; e < experts; ++e) weight[e * kRouted + token] = logits[token][e];
    }
    bench_ = std::make_unique<LayerBench>(*checkpoint_, LoadOptions{.threads = 2});
    router_ = bench_->Load([&](WeightPlacer& placer) {
      return MixtureRouter::Place(std::get<MixtureFfnPlan>(bench_->plan().blocks[0].ffn[0]).router,
                                  {}, placer);
    });
    bench_->LayBuffers();
    tokens_ = static_cast<int>(logits.size());
    Run(Units());
  }

  std::vector<float> Units() const {
    std::vector<float> u(tokens_ * kRouted);
    for (int t = 0; t < tokens_; ++t) u[t * kRouted + t] = 1;
    return u;
  }

  void Run(const std::vector<float>& u) {
    const StepContext step = bench_->Begin({{tokens_, 0, {0}}});
    float* logits = step.workspace.mixture.ffn_logits;
    router_.Project(step, bench_->Input(u), logits);
    router_.Choose(step, logits);
    picks_ = router_.picks(step);
  }

  std::vector<std::pair<uint32_t, float>> Picks(int token) const {
    std::vector<std::pair<uint32_t, float>> picks;
    for (int k = 0; k < router_.top_k; ++k) {
      const int at = token * router_.top_k + k;
      picks.push_back({picks_.ids[at], picks_.weights[at]});
    }
    return picks;
  }

  std::unique_ptr<MemoryCheckpoint> checkpoint_;
  std::unique_ptr<LayerBench> bench_;
  MixtureRouter router_;
  PickBuffer picks_;
  int tokens_ = 0;
};

float Ln(double x) { return static_cast<float>(std::log(x)); }

auto Near(double x) { return testing::FloatNear(static_cast<float>(x), 1e-5f); }

TEST_F(MixtureRouterTest, GatesAreASoftmaxOverAllHighestFirst) {
  Load({{Ln(1), Ln(4), Ln(2), Ln(3)}, {100 + Ln(7), 100 + Ln(1), 100 + Ln(1), 100 + Ln(1)}}, 2,
       false);
  EXPECT_THAT(Picks(0), ElementsAre(Pair(1, Near(0.4)), Pair(3, Near(0.3))));
  EXPECT_THAT(Picks(1), ElementsAre(Pair(0, Near(0.7)), Pair(1, Near(0.1))));
}

TEST_F(MixtureRouterTest, NormalisedGatesSumToOne) {
  Load({{Ln(1), Ln(4), Ln(2), Ln(3)}}, 3, true);
  EXPECT_THAT(Picks(0),
              ElementsAre(Pair(1, Near(4.0 / 9)), Pair(3, Near(3.0 / 9)), Pair(2, Near(2.0 / 9))));
}

TEST_F(MixtureRouterTest, TiesGoToTheLowerIndex) {
  Load({{1, 2, 2, 1, 2}, {0, 0, 0, 0, 0}, {-1, -1, 3, 3, -1}}, 3, false);
  const auto ids = [&](int token) {
    std::vector<uint32_t> all;
    for (const auto& [id, weight] : Picks(token)) all.push_back(id);
    return all;
  };
  EXPECT_THAT(ids(0), ElementsAre(1, 2, 4));
  EXPECT_THAT(ids(1), ElementsAre(0, 1, 2));
  EXPECT_THAT(ids(2), ElementsAre(2, 3, 0));
}

TEST_F(MixtureRouterTest, SoftRoutingKeepsAll) {
  Load({{Ln(1), Ln(4), Ln(5)}}, 3, false);
  EXPECT_THAT(Picks(0), ElementsAre(Pair(2, Near(0.5)), Pair(1, Near(0.4)), Pair(0, Near(0.1))));
}

// A token that is not a number picks experts that exist, with gates that are no numbers; the
// tokens beside it keep their bits.
TEST_F(MixtureRouterTest, NaNStaysNaNAndPicksExperts) {
  Load({{1, 2, 3, 4}, {4, 3, 2, 1}, {2, 4, 1, 3}}, 2, true);
  const auto before = Picks(2);
  std::vector<float> u = Units();
  u[1 * kRouted + 5] = kNan;
  Run(u);
  for (const auto& [id, weight] : Picks(1)) {
    EXPECT_LT(id, 4u);
    EXPECT_TRUE(std::isnan(weight));
  }
  EXPECT_EQ(Picks(2), before);
}

// All that a logit beyond exp's range leaves is one expert.
TEST_F(MixtureRouterTest, LargeLogitsDoNotOverflow) {
  Load({{1000, -1000, 999, 0}}, 2, false);
  EXPECT_THAT(Picks(0), ElementsAre(Pair(0, Near(1 / (1 + std::exp(-1.0)))),
                                    Pair(2, Near(1 / (1 + std::exp(1.0))))));
}

TEST_F(MixtureRouterTest, CountsWhatItPicked) {
  Load({{3, 2, 1}, {3, 1, 2}, {1, 2, 3}}, 1, true);
  std::vector<ExpertCount> counts(3);
  EXPECT_EQ(bench_->counters().Read(0, absl::MakeSpan(counts)).tokens, 3u);
  EXPECT_EQ(counts[0].selections, 2u);
  EXPECT_EQ(counts[1].selections, 0u);
  EXPECT_EQ(counts[2].selections, 1u);
  EXPECT_EQ(counts[0].score, 2 * ExpertScore(1));
}

}  // namespace
}  // namespace peerage::nn::cpu
