// Mixtures with zero, copy and constant experts and with gating residuals (MoE++). What they
// compute is held to a reference in float64 by tests/golden (mixture_moepp); here is what must hold
// besides.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "model/nn/plan/model_plan.h"
#include "tests/support/memory_checkpoint.h"
#include "tests/support/mixture_models.h"
#include "tests/support/model_checks.h"
#include "tests/support/sequence_feed.h"

namespace peerage {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr char kMixture[] = "model.layers.0.ffn.mixture.";

MixtureFfnConfig MoePlusPlus(int top_k) {
  MixtureFfnConfig ffn = MixtureFfnPart(3, top_k, false);
  ffn.zero_experts = 1;
  ffn.copy_experts = 2;
  ffn.constant_experts = 2;
  return ffn;
}

// Gating residuals in the first and the third layer, past one without.
ModelConfig EveryKind(bool parallel) {
  ModelConfig config = SmallConfig();
  config.parallel_block = parallel;
  config.layers.resize(3);
  MixtureFfnConfig residual = MoePlusPlus(2);
  residual.gating_residual = true;
  config.layers[0].ffn = {residual};
  config.layers[1].ffn = {config.layers[1].ffn[0], MoePlusPlus(5)};
  config.layers[2].ffn = {residual};
  return config;
}

// Every token picks this one of the experts of layer 0, whatever it reads: its row of the router is
// the only one that is not zero, and is the input's own direction.
MemoryCheckpoint AllPick(int expert) {
  ModelConfig config = SmallConfig();
  config.layers.resize(1);
  config.layers[0].ffn = {MoePlusPlus(1)};
  MemoryCheckpoint checkpoint(config, 7);
  MakeFirstValueConstant(checkpoint);
  std::vector<float>& router = checkpoint.values(absl::StrCat(kMixture, "router.weight"));
  std::fill(router.begin(), router.end(), 0.0f);
  router[expert * 32] = 100;  // the first value of what it reads is about 1
  return checkpoint;
}

std::vector<float> LogprobsOf(const Checkpoint& checkpoint) {
  return Feed(*LoadSmall(checkpoint), {{Prompt(20, 11), {0}}}).logprobs[0];
}

TEST(MoeppLayersTest, ASequencesBitsDoNotDependOnNeighboursChunksOrThreads) {
  const FedSequence subject{Prompt(41, 11), {5, 3, 8}};
  const std::vector<FedSequence> crowd = {
      subject, {Prompt(9, 5), {0}}, {Prompt(2, 1), {1}}, {Prompt(64, 13), {7, 2, 9, 10}}};
  for (const bool parallel : {false, true}) {
    const MemoryCheckpoint checkpoint(EveryKind(parallel), 1);
    const std::vector<float> alone = Feed(*LoadSmall(checkpoint), {subject}).logprobs[0];
    for (const int threads : {1, 2, 3}) {
      const auto model = LoadSmall(checkpoint, {.threads = threads});
      for (const size_t chunk : {1, 7, 1000}) {
        EXPECT_EQ(Feed(*model, crowd, chunk).logprobs[0], alone) << threads << " " << chunk;
      }
    }
  }
}

TEST(MoeppLayersTest, KeepTheRulesOfEveryModelWithExperts) {
  const MemoryCheckpoint checkpoint(EveryKind(false), 2);
  ExpectANaNFailsItsOwnSequenceAlone(EveryKind(false), 3, {});
  ExpectAForkContinuesItsOriginsSequence(checkpoint);
  ExpectThePlanIsWhatLoadingTakes(checkpoint, {.threads = 2});
  ExpectWhatIsSwitchedOffIsNotReported(checkpoint);
  ExpectLoadingSaysHowFarItIs(checkpoint);
}

TEST(MoeppLayersTest, CountEveryKindOfExpertByName) {
  const MemoryCheckpoint checkpoint(EveryKind(true), 4);
  const auto model = LoadSmall(checkpoint);
  const FeedResult fed = Feed(*model, {{Prompt(64, 13), {7, 2}}});

  ExpectUsageIsWhatTracesSay(*model, fed);
  EXPECT_THAT(model->description().expert_layers[0].expert_names,
              ElementsAre("ffn-0", "ffn-1", "ffn-2", "zero", "copy-0", "copy-1", "constant-0",
                          "constant-1"));
  std::vector<ExpertCount> counts(8);
  model->ReadUsage(1, absl::MakeSpan(counts));
  for (const ExpertCount& count : counts) EXPECT_GT(count.selections, 0u);
}

// A zero expert adds nothing: the model is the one without the mixture's output.
TEST(MoeppLayersTest, ZeroExpertsReadAndAddNothing) {
  MemoryCheckpoint zero = AllPick(3);
  MemoryCheckpoint none = AllPick(0);
  for (const TensorInfo& tensor : none.tensors()) {
    std::vector<float>& values = none.values(tensor.name);
    if (absl::EndsWith(tensor.name, "down_proj.weight")) {
      std::fill(values.begin(), values.end(), 0.0f);
    }
    if (absl::StrContains(tensor.name, "mixture.experts.")) {
      std::fill(zero.values(tensor.name).begin(), zero.values(tensor.name).end(),
                std::numeric_limits<float>::quiet_NaN());
    }
  }

  EXPECT_EQ(LogprobsOf(zero), LogprobsOf(none));
}

// A copy is the constant expert whose scores are all on u.
TEST(MoeppLayersTest, CopiesReadNoWeightsAndAreConstantsThatKeepWhatTheyRead) {
  MemoryCheckpoint copy = AllPick(5), constant = AllPick(6);
  for (const char* part : {"gate_proj.weight", "up_proj.weight", "down_proj.weight"}) {
    for (int e = 0; e < 3; ++e) {
      std::vector<float>& values = copy.values(absl::StrCat(kMixture, "experts.", e, ".", part));
      std::fill(values.begin(), values.end(), std::numeric_limits<float>::quiet_NaN());
    }
  }
  std::vector<float>& weight = constant.values(absl::StrCat(kMixture, "constants.0.weight"));
  std::fill(weight.begin(), weight.end(), 0.0f);
  weight[0] = 300;

  const std::vector<float> copies = LogprobsOf(copy), constants = LogprobsOf(constant);

  ASSERT_EQ(copies.size(), constants.size());
  for (size_t i = 0; i < copies.size(); ++i) {
    EXPECT_TRUE(std::isfinite(copies[i]));
    EXPECT_NEAR(copies[i], constants[i], 1e-5);
  }
}

// Constant experts all on their vector do not look at u.
TEST(MoeppLayersTest, ConstantsMayBeTheirVectorAlone) {
  MemoryCheckpoint zero = AllPick(3), constant = AllPick(7);
  std::vector<float>& weight = constant.values(absl::StrCat(kMixture, "constants.1.weight"));
  std::fill(weight.begin(), weight.end(), 0.0f);
  weight[32] = 300;
  std::vector<float>& vector = constant.values(absl::StrCat(kMixture, "constants.1.vector"));
  std::fill(vector.begin(), vector.end(), 0.0f);

  EXPECT_EQ(LogprobsOf(constant), LogprobsOf(zero));
}

// In a parallel block experts are chosen before attention chooses its own, in buffers of its own.
TEST(MoeppLayersTest, AttentionThatRoutesInBetweenChangesNoScores) {
  ModelConfig config = SmallConfig();
  config.parallel_block = true;
  config.layers.resize(1);
  config.layers[0] = {.ffn = {MoePlusPlus(3)}, .attention = SoftAttention(7, MixtureKv::kShared)};
  MemoryCheckpoint mixed(config, 9);
  for (const TensorInfo& tensor : mixed.tensors()) {
    if (!absl::EndsWith(tensor.name, "o_proj.weight")) continue;
    std::fill(mixed.values(tensor.name).begin(), mixed.values(tensor.name).end(), 0.0f);
  }
  config.layers[0].attention = {};
  MemoryCheckpoint dense(config, 9);
  CopyCommon(mixed, dense);
  std::vector<float>& output = dense.values("model.layers.0.attention.o_proj.weight");
  std::fill(output.begin(), output.end(), 0.0f);

  EXPECT_EQ(LogprobsOf(mixed), LogprobsOf(dense));
}

// W_g = 0 is no residual; W_g that shifts every logit alike changes no gate.
TEST(MoeppLayersTest, ResidualsOfZeroChangeNothing) {
  MemoryCheckpoint residual(EveryKind(false), 8);
  std::vector<float>& map = residual.values("model.layers.2.ffn.mixture.router.residual.weight");
  const std::vector<float> with = LogprobsOf(residual);
  std::fill(map.begin(), map.end(), 0.0f);
  ModelConfig config = EveryKind(false);
  for (const int layer : {0, 2}) {
    std::get<MixtureFfnConfig>(config.layers[layer].ffn[0]).gating_residual = false;
  }
  MemoryCheckpoint plain(config, 8);
  CopyCommon(residual, plain);

  EXPECT_EQ(LogprobsOf(residual), LogprobsOf(plain));
  EXPECT_NE(with, LogprobsOf(plain));
}

TEST(MoeppLayersTest, PlansTheTensorsOfTheFormat) {
  const nn::ModelPlan plan = nn::PlanModel(EveryKind(false));
  std::vector<std::string> names;
  for (const nn::PlannedTensor& tensor : plan.Tensors()) {
    absl::string_view name = tensor.name;
    const bool router = absl::StrContains(name, "router") || absl::StrContains(name, "constants");
    if (!router) continue;
    std::string line = absl::StrCat(name.substr(13));
    for (const int64_t dimension : tensor.shape) absl::StrAppend(&line, " ", dimension);
    names.push_back(line);
  }
  EXPECT_THAT(
      names,
      ElementsAre("0.ffn.mixture.router.weight 8 32", "0.ffn.mixture.constants.0.weight 2 32",
                  "0.ffn.mixture.constants.0.vector 32", "0.ffn.mixture.constants.1.weight 2 32",
                  "0.ffn.mixture.constants.1.vector 32", "1.ffn.mixture.router.weight 8 32",
                  "1.ffn.mixture.constants.0.weight 2 32", "1.ffn.mixture.constants.0.vector 32",
                  "1.ffn.mixture.constants.1.weight 2 32", "1.ffn.mixture.constants.1.vector 32",
                  "2.ffn.mixture.router.weight 8 32", "2.ffn.mixture.router.residual.weight 8 8",
                  "2.ffn.mixture.constants.0.weight 2 32", "2.ffn.mixture.constants.0.vector 32",
                  "2.ffn.mixture.constants.1.weight 2 32", "2.ffn.mixture.constants.1.vector 32"));
}

// An FFN of 3 x 96 x 32 weights, a router of 8 x 32, constants of 3 x 32.
TEST(MoeppLayersTest, CountsWhatATokenMeets) {
  ModelConfig config = SmallConfig();
  config.layers.resize(1);
  config.layers[0].ffn = {MoePlusPlus(2)};
  const nn::ModelPlan two = nn::PlanModel(config);
  config.layers[0].ffn = {MoePlusPlus(4)};
  const nn::ModelPlan four = nn::PlanModel(config);

  EXPECT_EQ(two.Parameters() - two.ActiveParameters(), 3u * 96 * 32 + 2 * 3 * 32);
  EXPECT_EQ(four.Parameters() - four.ActiveParameters(), 3u * 32);
  EXPECT_EQ(four.blocks[0].Flops(0) - two.blocks[0].Flops(0), 2u * 3 * 96 * 32 + 4 * 32);
}

}  // namespace
}  // namespace peerage
