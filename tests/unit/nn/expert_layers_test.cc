// Layers whose experts are found by product keys, inside a small transformer.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "model/nn/load_model.h"
#include "tests/support/memory_checkpoint.h"
#include "tests/support/model_checks.h"
#include "tests/support/odd_models.h"
#include "tests/support/sequence_feed.h"

namespace peerage {
namespace {

using ::testing::HasSubstr;

ProductKeyConfig Keys(int n, int heads, int top_k) { return OddKeys(n, heads, top_k, 24); }

// Layers of every kind: PEER beside a dense FFN with shared keys, PEER with everything of its own,
// direct keys, and a product-key memory.
ModelConfig MixedConfig() {
  ModelConfig config = SmallConfig();
  const FfnConfig dense = config.layers[0].ffn[0];
  config.layers.resize(4);
  config.layers[0].ffn = {dense, PeerConfig{.keys = Keys(23, 3, 8)}};

  ProductKeyConfig own = Keys(32, 4, 16);
  own.keys = ProductKeys::kPerHead;
  own.per_head_experts = true;
  own.query_bias = true;
  own.query_norm = QueryNorm::kBatch;
  own.score = RouterScore::kSigmoid;
  config.layers[1].ffn = {PeerConfig{.keys = own, .glu = true, .norm = PeerNorm::kRms}};

  ProductKeyConfig direct = Keys(31, 1, 40);  // above n
  direct.keys = ProductKeys::kDirect;
  direct.key_dim = 0;
  direct.score = RouterScore::kJointSoftmax;
  config.layers[2].ffn = {PeerConfig{.keys = direct}};

  ProductKeyConfig memory = Keys(17, 2, 5);
  memory.query_norm = QueryNorm::kLayer;
  config.layers[3].ffn = {dense, ProductKeyMemoryConfig{memory}};
  return config;
}

TEST(ExpertLayersTest, ASequencesBitsDoNotDependOnNeighboursChunksOrThreads) {
  const MemoryCheckpoint checkpoint(MixedConfig(), 1);
  const FedSequence subject{Prompt(41, 11), {5, 3, 8}};
  for (const auto dtype : {nn::ExpertDtype::kF32, nn::ExpertDtype::kBF16, nn::ExpertDtype::kInt8,
                           nn::ExpertDtype::kInt4, nn::ExpertDtype::kFp8}) {
    SCOPED_TRACE(static_cast<int>(dtype));
    const auto model = LoadSmall(checkpoint, {.expert_dtype = dtype, .threads = 1});
    const FeedResult alone = Feed(*model, {subject});
    for (const float logprob : alone.logprobs[0]) EXPECT_TRUE(std::isfinite(logprob));

    for (const int threads : {1, 2, 3}) {
      const auto other = LoadSmall(checkpoint, {.expert_dtype = dtype, .threads = threads});
      for (const size_t chunk : {1, 2, 7, 1000}) {
        EXPECT_EQ(Feed(*other, {subject}, chunk).logprobs, alone.logprobs)
            << threads << " threads, chunks of " << chunk;
      }
      const FeedResult beside = Feed(
          *other,
          {subject, {Prompt(9, 5), {0}}, {Prompt(2, 1), {1}}, {Prompt(64, 13), {7, 2, 9, 10}}});
      EXPECT_EQ(beside.logprobs[0], alone.logprobs[0]) << threads << " threads";
    }
  }
}

TEST(ExpertLayersTest, UsageIsWhatTheTracesSay) {
  const MemoryCheckpoint checkpoint(MixedConfig(), 2);
  for (const int threads : {1, 3}) {
    const auto model = LoadSmall(checkpoint, {.threads = threads});
    const auto& layers = model->description().expert_layers;
    ASSERT_EQ(layers.size(), 4u);
    EXPECT_EQ(layers[1].num_experts, 4u * 32 * 32);  // each head has its own
    const FeedResult answer = Feed(
        *model,
        {{Prompt(200, 11), {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}}, {Prompt(30, 7), {13, 14}}},
        64);

    ExpectUsageIsWhatTracesSay(*model, answer);
    model->ClearUsage();
    std::vector<ExpertCount> counts(layers[0].num_experts, ExpertCount{.selections = 1});
    EXPECT_EQ(model->ReadUsage(0, absl::MakeSpan(counts)).tokens, 0u);
    for (const ExpertCount& count : counts) ASSERT_EQ(count.selections, 0u);
  }
}

TEST(ExpertLayersTest, WhatIsSwitchedOffIsNotReported) {
  ExpectWhatIsSwitchedOffIsNotReported(MemoryCheckpoint(MixedConfig(), 3));
}

TEST(ExpertLayersTest, ANaNAtRunTimeFailsItsOwnSequenceAlone) {
  for (const auto dtype : {nn::ExpertDtype::kF32, nn::ExpertDtype::kInt8, nn::ExpertDtype::kInt4,
                           nn::ExpertDtype::kFp8}) {
    ExpectANaNFailsItsOwnSequenceAlone(MixedConfig(), 4, {.expert_dtype = dtype, .threads = 2});
  }
}

TEST(ExpertLayersTest, ANaNInARouterIsRefusedByName) {
  for (const char* name :
       {"model.layers.0.ffn.peer.sub_keys", "model.layers.1.ffn.peer.query.weight",
        "model.layers.1.ffn.peer.query.bias", "model.layers.1.ffn.peer.query_norm.running_var",
        "model.layers.2.ffn.peer.router.weight", "model.layers.3.ffn.pkm.query_norm.bias"}) {
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      MemoryCheckpoint checkpoint(MixedConfig(), 5);
      checkpoint.values(name).back() = bad;

      const auto model = nn::LoadModel(checkpoint, {.kv_cache_bytes = 1 << 20});

      ASSERT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument) << name;
      EXPECT_THAT(std::string(model.status().message()), HasSubstr(name));
    }
  }
}

TEST(ExpertLayersTest, ThePlanIsWhatLoadingTakes) {
  const MemoryCheckpoint checkpoint(MixedConfig(), 6);
  for (const auto dtype : {nn::ExpertDtype::kAuto, nn::ExpertDtype::kInt8}) {
    ExpectThePlanIsWhatLoadingTakes(checkpoint, {.expert_dtype = dtype});
  }
  const auto needs = nn::PlanMemory(checkpoint, {.weights_dtype = nn::WeightsDtype::kQ4_1,
                                                 .expert_dtype = nn::ExpertDtype::kInt8});
  EXPECT_THAT(needs->conversions,
              testing::ElementsAre("22 f32 matrices to q4_1", "1 f32 matrix to q8_0",
                                   "4 f32 tables to int8"));
}

TEST(ExpertLayersTest, LoadingSaysHowFarItIs) {
  ExpectLoadingSaysHowFarItIs(MemoryCheckpoint(MixedConfig(), 7));
}

}  // namespace
}  // namespace peerage
