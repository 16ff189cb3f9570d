// Layers of mixtures inside a small transformer: bits, usage, memory and faults.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "model/kernels/attention.h"
#include "model/nn/load_model.h"
#include "tests/support/mixture_models.h"
#include "tests/support/model_checks.h"
#include "tests/support/sequence_feed.h"

namespace peerage {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Both kinds of keys and values, both kinds of routing, every mix of feed-forward parts; heads of
// 16 values, so that 2 of a group make whole blocks of quantised weights.
ModelConfig EveryMixture(bool parallel) {
  ModelConfig config = SmallConfig();
  config.parallel_block = parallel;
  config.head_dim = 16;
  const FfnConfig dense = config.layers[0].ffn[0];
  const PeerConfig peer{
      .keys = {.num_experts = 23 * 23, .num_sub_keys = 23, .heads = 3, .top_k = 8, .key_dim = 24}};
  MixtureFfnConfig named = MixtureFfnPart(5, 1, false);
  named.mixture.expert_names = {"base", "code", "law", "maths", "prose"};
  config.layers.resize(4);
  config.layers[0] = {.ffn = {MixtureFfnPart(4, 2, true)},
                      .attention = SoftAttention(3, MixtureKv::kShared)};
  config.layers[1] = {.ffn = {dense, named}, .attention = SoftAttention(3, MixtureKv::kExpert)};
  config.layers[2] = {.ffn = {peer, MixtureFfnPart(3, 3, false)},
                      .attention = TopKAttention(SoftAttention(4, MixtureKv::kExpert), 2, false)};
  config.layers[3] = {.ffn = {peer},
                      .attention = TopKAttention(SoftAttention(2, MixtureKv::kShared), 1, true)};
  return config;
}

// O10.
TEST(MixtureLayersTest, ASequencesBitsDoNotDependOnNeighboursChunksOrThreads) {
  const FedSequence subject{Prompt(41, 11), {5, 3, 8}};
  const std::vector<FedSequence> crowd = {
      subject, {Prompt(9, 5), {0}}, {Prompt(2, 1), {1}}, {Prompt(64, 13), {7, 2, 9, 10}}};
  for (const bool parallel : {false, true}) {
    const MemoryCheckpoint checkpoint(EveryMixture(parallel), 1);
    for (const auto dtype : {nn::WeightsDtype::kF32, nn::WeightsDtype::kBF16,
                             nn::WeightsDtype::kQ8_0, nn::WeightsDtype::kQ4_1}) {
      SCOPED_TRACE(static_cast<int>(dtype));
      const auto model = LoadSmall(checkpoint, {.weights_dtype = dtype, .threads = 1});
      const FeedResult alone = Feed(*model, {subject});
      for (const float logprob : alone.logprobs[0]) EXPECT_TRUE(std::isfinite(logprob));

      for (const int threads : {1, 2, 3}) {
        const auto other = LoadSmall(checkpoint, {.weights_dtype = dtype, .threads = threads});
        for (const size_t chunk : {1, 2, 7, 1000}) {
          EXPECT_EQ(Feed(*other, {subject}, chunk).logprobs, alone.logprobs)
              << threads << " threads, chunks of " << chunk;
        }
        for (const size_t chunk : {5, 1000}) {
          EXPECT_EQ(Feed(*other, crowd, chunk).logprobs[0], alone.logprobs[0])
              << threads << " threads, chunks of " << chunk;
        }
      }
    }
  }
}

TEST(MixtureLayersTest, QuantisedWeightsStayNearTheOriginals) {
  const std::vector<FedSequence> sequences = {{Prompt(41, 11), {0, 1, 2}}};
  // A token that is routed to other experts is far off: over some models that is rare.
  double error = 0;
  size_t count = 0;
  for (uint32_t seed = 2; seed < 10; ++seed) {
    const MemoryCheckpoint checkpoint(EveryMixture(false), seed);
    const auto exact = LoadSmall(checkpoint, {.weights_dtype = nn::WeightsDtype::kF32});
    const auto rounded = LoadSmall(checkpoint, {.weights_dtype = nn::WeightsDtype::kQ8_0,
                                                .expert_dtype = nn::ExpertDtype::kF32});
    EXPECT_EQ(rounded->description().weights_dtype, "q8_0");
    const std::vector<float> expected = Feed(*exact, sequences).logprobs[0];
    const std::vector<float> actual = Feed(*rounded, sequences).logprobs[0];
    double here = 0;
    for (size_t i = 0; i < actual.size(); ++i) here += std::fabs(actual[i] - expected[i]);
    EXPECT_GT(here, 0);
    error += here;
    count += actual.size();
  }
  EXPECT_LT(error / static_cast<double>(count), 0.1);
}

TEST(MixtureLayersTest, UsageIsWhatTheTracesSay) {
  const MemoryCheckpoint checkpoint(EveryMixture(true), 3);
  for (const int threads : {1, 3}) {
    const auto model = LoadSmall(checkpoint, {.threads = threads});
    const FeedResult fed =
        Feed(*model, {{Prompt(120, 11), {0, 1, 2, 3, 4, 5, 6, 7}}, {Prompt(30, 7), {13, 14}}}, 64);
    ExpectUsageIsWhatTracesSay(*model, fed);
  }
}

// Attention, a memory and a mixture of one block: each keeps its picks until it has used them.
TEST(MixtureLayersTest, WhatIsSwitchedOffIsNotReported) {
  for (const bool parallel : {false, true}) {
    ExpectWhatIsSwitchedOffIsNotReported(MemoryCheckpoint(EveryMixture(parallel), 13));
  }
}

// Poisons the experts of some layer that no token chose. Of attention experts, keys and values.
TEST(MixtureLayersTest, AnExpertThatNobodyChoseIsNotRead) {
  struct Case {
    int expert_layer;
    uint32_t experts;
    std::string prefix;
    std::vector<std::string> matrices;
  };
  const std::vector<FedSequence> sequences = {{Prompt(3, 11), {0}}};
  for (const Case& c :
       {Case{3, 5, "model.layers.1.ffn.mixture.experts.", {"gate_proj", "up_proj", "down_proj"}},
        Case{4, 4, "model.layers.2.attention.experts.", {"k_proj", "v_proj"}}}) {
    MemoryCheckpoint checkpoint(EveryMixture(false), 14);
    const FeedResult expected = Feed(*LoadSmall(checkpoint), sequences);
    const std::vector<uint32_t>& chosen = expected.ids[c.expert_layer];
    int spared = 0;
    for (uint32_t expert = 0; expert < c.experts; ++expert) {
      if (std::count(chosen.begin(), chosen.end(), expert) > 0) continue;
      ++spared;
      for (const std::string& matrix : c.matrices) {
        std::vector<float>& values =
            checkpoint.values(c.prefix + std::to_string(expert) + "." + matrix + ".weight");
        std::fill(values.begin(), values.end(), std::numeric_limits<float>::quiet_NaN());
      }
    }
    ASSERT_GT(spared, 0) << c.prefix;

    EXPECT_EQ(Feed(*LoadSmall(checkpoint), sequences).logprobs, expected.logprobs) << c.prefix;
  }
}

// Blocks whose layers take different room are copied whole.
TEST(MixtureLayersTest, AForkContinuesItsOriginsSequence) {
  ExpectAForkContinuesItsOriginsSequence(MemoryCheckpoint(EveryMixture(false), 15));
}

TEST(MixtureLayersTest, ExpertLayersAreListedInTheOrderThatATokenMeetsThem) {
  const MemoryCheckpoint checkpoint(EveryMixture(false), 4);
  const auto model = LoadSmall(checkpoint);
  const std::vector<ExpertLayer>& layers = model->description().expert_layers;
  std::vector<std::string> listed;
  for (const ExpertLayer& layer : layers) {
    const char* const kKinds[] = {"peer", "pkm", "ffn", "attention"};
    listed.push_back(std::to_string(layer.layer) + " " + kKinds[static_cast<int>(layer.kind)] +
                     " " + std::to_string(layer.top_k) + "/" + std::to_string(layer.num_experts));
  }
  EXPECT_THAT(listed, ElementsAre("0 attention 3/3", "0 ffn 2/4", "1 attention 3/3", "1 ffn 1/5",
                                  "2 attention 2/4", "2 peer 8/529", "2 ffn 3/3", "3 attention 1/2",
                                  "3 peer 8/529"));
  EXPECT_THAT(layers[3].expert_names, ElementsAre("base", "code", "law", "maths", "prose"));
  EXPECT_THAT(layers[1].expert_names, IsEmpty());
}

TEST(MixtureLayersTest, SoftGatesOfATokenSumToOneAndComeHighestFirst) {
  const MemoryCheckpoint checkpoint(EveryMixture(false), 5);
  const FeedResult fed = Feed(*LoadSmall(checkpoint), {{Prompt(41, 11), {0, 1, 2}}});
  const std::vector<float>& gates = fed.weights[0];
  for (size_t i = 0; i < gates.size(); i += 3) {
    EXPECT_NEAR(gates[i] + gates[i + 1] + gates[i + 2], 1, 1e-6);
    EXPECT_GE(gates[i], gates[i + 1]);
    EXPECT_GE(gates[i + 1], gates[i + 2]);
  }
}

TEST(MixtureLayersTest, ANaNAtRunTimeFailsItsOwnSequenceAlone) {
  for (const auto dtype : {nn::WeightsDtype::kF32, nn::WeightsDtype::kQ8_0}) {
    ExpectANaNFailsItsOwnSequenceAlone(EveryMixture(false), 6,
                                       {.weights_dtype = dtype, .threads = 2});
  }
}

TEST(MixtureLayersTest, ANaNInARouterIsRefusedByName) {
  for (const char* name :
       {"model.layers.0.attention.router.weight", "model.layers.1.ffn.mixture.router.weight"}) {
    MemoryCheckpoint checkpoint(EveryMixture(false), 7);
    checkpoint.values(name).back() = std::numeric_limits<float>::quiet_NaN();

    const auto model = nn::LoadModel(checkpoint, {.kv_cache_bytes = 1 << 20});

    ASSERT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_THAT(std::string(model.status().message()), HasSubstr(name));
  }
}

// Bytes of one block of keys and values of a model whose layers are all alike.
uint64_t BlockBytes(const AttentionConfig& attention) {
  const MemoryCheckpoint checkpoint(MixtureModel(attention, SmallConfig().layers[0].ffn[0]), 8);
  const auto needs = nn::PlanMemory(checkpoint, {});
  EXPECT_TRUE(needs.ok()) << needs.status();
  EXPECT_EQ(LoadSmall(checkpoint)->description().kv_bytes_per_token,
            needs->kv_block_bytes / needs->kv_block_tokens);
  return needs->kv_block_bytes;
}

TEST(MixtureLayersTest, OnlyExpertsWithKeysOfTheirOwnMakeTheCacheLarger) {
  const uint64_t dense = BlockBytes({});
  EXPECT_EQ(dense, 2 * 2 * 2 * 8 * sizeof(float) * kernels::kBlockTokens);
  EXPECT_EQ(BlockBytes(SoftAttention(3, MixtureKv::kShared)), dense);
  EXPECT_EQ(BlockBytes(SoftAttention(3, MixtureKv::kExpert)), 3 * dense);
}

TEST(MixtureLayersTest, LayersOfDifferentCachesDoNotOverlapInABlock) {
  ModelConfig config = EveryMixture(false);
  const MemoryCheckpoint checkpoint(config, 9);
  const auto model = LoadSmall(checkpoint);
  const FedSequence one{Prompt(60, 11), {1, 2, 3, 4}};
  const FedSequence other{Prompt(60, 7), {5, 6, 7, 8}};

  const FeedResult together = Feed(*model, {one, other}, 3);

  EXPECT_EQ(together.logprobs[0], Feed(*model, {one}).logprobs[0]);
  EXPECT_EQ(together.logprobs[1], Feed(*model, {other}).logprobs[0]);
}

TEST(MixtureLayersTest, ThePlanIsWhatLoadingTakes) {
  const MemoryCheckpoint checkpoint(EveryMixture(true), 10);
  for (const auto dtype : {nn::WeightsDtype::kAuto, nn::WeightsDtype::kQ8_0}) {
    ExpectThePlanIsWhatLoadingTakes(checkpoint, {.weights_dtype = dtype});
  }
  const auto needs = nn::PlanMemory(checkpoint, {.weights_dtype = nn::WeightsDtype::kQ8_0,
                                                 .expert_dtype = nn::ExpertDtype::kF32});
  ASSERT_TRUE(needs.ok());
  // 42 of attention, 39 of feed-forward experts, the embedding; routers stay as they are.
  EXPECT_THAT(needs->conversions, ElementsAre("82 f32 matrices to q8_0"));
}

TEST(MixtureLayersTest, HeadsThatAreNotWholeBlocksKeepTheirOutputProjectionInF32) {
  // 2 heads of 8 values a group: slices of 16 columns.
  const MemoryCheckpoint checkpoint(
      MixtureModel(SoftAttention(3, MixtureKv::kShared), MixtureFfnPart(2, 1, false)), 11);
  const auto needs = nn::PlanMemory(checkpoint, {.weights_dtype = nn::WeightsDtype::kQ8_0});
  ASSERT_TRUE(needs.ok()) << needs.status();
  // Each layer has 3 queries, a key and a value projection, and 2 experts of 3 matrices.
  EXPECT_THAT(needs->conversions, ElementsAre("23 f32 matrices to q8_0"));
}

TEST(MixtureLayersTest, LoadingSaysHowFarItIs) {
  ExpectLoadingSaysHowFarItIs(MemoryCheckpoint(EveryMixture(false), 12));
}

}  // namespace
}  // namespace peerage
