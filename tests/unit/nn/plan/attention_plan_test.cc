#include "model/nn/plan/attention_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/support/mixture_models.h"
#include "tests/support/odd_models.h"
#include "tests/unit/nn/plan/plan_text.h"

namespace peerage::nn {
namespace {

using nlohmann::ordered_json;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;

// 6 heads of 10 on 3 KV heads, d 33.
struct AttentionPlace {
  ModelConfig config = OddConfig();
  PartPlace place{
      .model = config, .prefix = "model.layers.0.attention.", .layer = 0, .expert_layer = 4};
};

MixtureAttentionPlan PlanMixture(const AttentionConfig& config) {
  const AttentionPlace at;
  return MixtureAttentionPlan(config, at.place);
}

TEST(AttentionPlanTest, OfADenseLayer) {
  AttentionPlace at;
  at.config.rope_interleaved = true;
  const AttentionPlan plan(at.place);

  EXPECT_THAT(
      TextsOf(plan.Tensors()),
      ElementsAre("attention.q_proj.weight 60x33 matrix", "attention.k_proj.weight 30x33 matrix",
                  "attention.v_proj.weight 30x33 matrix", "attention.o_proj.weight 33x60 matrix"));
  EXPECT_THAT(TextsOf(plan.qkv), ElementsAre("q 0+60", "k 0+30", "v 0+30"));
  EXPECT_THAT(TextsOf(plan.output), ElementsAre("o 0+33"));
  EXPECT_EQ(plan.qkv.join, Join::kRows);
  EXPECT_EQ(plan.rotary.dim, 10);
  EXPECT_EQ(plan.rotary.theta, 700);
  EXPECT_TRUE(plan.rotary.interleaved);
  EXPECT_EQ(plan.KvValues(), 2u * 30);
  EXPECT_TRUE(plan.ExpertLayers().empty());
  EXPECT_EQ(plan.IdleParameters(), 0u);
  EXPECT_EQ(plan.Text(), "dense");
  EXPECT_EQ(plan.Fields(), ordered_json("dense"));
}

TEST(AttentionPlanTest, CountsProjectionsOnceAndScoresWithValuesByContext) {
  const AttentionPlace at;
  const AttentionPlan plan(at.place);
  const uint64_t weights = 60 * 33 + 30 * 33 + 30 * 33 + 33 * 60;
  EXPECT_EQ(plan.Flops(0), 2 * weights);
  EXPECT_EQ(plan.Flops(7), 2 * weights + 2 * 7 * 6 * 10);
}

TEST(AttentionPlanTest, NeedsRoomForEveryHead) {
  const AttentionPlace at;
  const BufferWidths widths = AttentionPlan(at.place).Buffers();
  EXPECT_EQ(widths.qkv, 120u);
  EXPECT_EQ(widths.attended, 60u);
  EXPECT_EQ(widths.input, 60u);
  EXPECT_EQ(widths.hidden + widths.gates + widths.head_gates + widths.queries, 0u);
}

// Each KV head's queries, of one expert after the other: 2 heads of 10 values.
TEST(MixtureAttentionPlanTest, SharedKeysGroupHeadsByKvHead) {
  const MixtureAttentionPlan plan = PlanMixture(SoftAttention(3, MixtureKv::kShared));

  EXPECT_THAT(
      TextsOf(plan.wide.qkv),
      ElementsAre("experts.0.q 0+20", "experts.1.q 0+20", "experts.2.q 0+20", "experts.0.q 20+20",
                  "experts.1.q 20+20", "experts.2.q 20+20", "experts.0.q 40+20",
                  "experts.1.q 40+20", "experts.2.q 40+20", "k 0+30", "v 0+30"));
  EXPECT_THAT(TextsOf(plan.wide.output),
              ElementsAre("experts.0.o 0+20", "experts.1.o 0+20", "experts.2.o 0+20",
                          "experts.0.o 20+20", "experts.1.o 20+20", "experts.2.o 20+20",
                          "experts.0.o 40+20", "experts.1.o 40+20", "experts.2.o 40+20"));
  EXPECT_THAT(plan.expert_of_head,
              ElementsAre(0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2));
  EXPECT_EQ(plan.wide.qkv.join, Join::kRows);
  EXPECT_EQ(plan.wide.output.join, Join::kColumns);
  EXPECT_EQ(plan.wide.heads, 18);
  EXPECT_EQ(plan.wide.kv_heads, 3);
  EXPECT_EQ(plan.KvValues(), 60u);
  EXPECT_EQ(plan.HeadDim(), 10);
}

TEST(MixtureAttentionPlanTest, OwnKeysKeepAnExpertsHeadsTogether) {
  const MixtureAttentionPlan plan = PlanMixture(SoftAttention(3, MixtureKv::kExpert));

  EXPECT_THAT(TextsOf(plan.wide.qkv),
              ElementsAre("experts.0.q 0+60", "experts.1.q 0+60", "experts.2.q 0+60",
                          "experts.0.k 0+30", "experts.1.k 0+30", "experts.2.k 0+30",
                          "experts.0.v 0+30", "experts.1.v 0+30", "experts.2.v 0+30"));
  EXPECT_THAT(TextsOf(plan.wide.output),
              ElementsAre("experts.0.o 0+60", "experts.1.o 0+60", "experts.2.o 0+60"));
  EXPECT_THAT(plan.expert_of_head,
              ElementsAreArray({0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2}));
  EXPECT_EQ(plan.wide.kv_heads, 9);
  EXPECT_EQ(plan.KvValues(), 180u);
}

TEST(MixtureAttentionPlanTest, TensorsComeExpertByExpert) {
  EXPECT_THAT(TextsOf(PlanMixture(SoftAttention(2, MixtureKv::kExpert)).Tensors()),
              ElementsAre("attention.router.weight 2x33 router",
                          "attention.experts.0.q_proj.weight 60x33 matrix",
                          "attention.experts.0.k_proj.weight 30x33 matrix",
                          "attention.experts.0.v_proj.weight 30x33 matrix",
                          "attention.experts.0.o_proj.weight 33x60 matrix",
                          "attention.experts.1.q_proj.weight 60x33 matrix",
                          "attention.experts.1.k_proj.weight 30x33 matrix",
                          "attention.experts.1.v_proj.weight 30x33 matrix",
                          "attention.experts.1.o_proj.weight 33x60 matrix"));
  EXPECT_THAT(
      TextsOf(PlanMixture(SoftAttention(2, MixtureKv::kShared)).Tensors()),
      ElementsAre("attention.router.weight 2x33 router",
                  "attention.experts.0.q_proj.weight 60x33 matrix",
                  "attention.experts.0.o_proj.weight 33x60 matrix",
                  "attention.experts.1.q_proj.weight 60x33 matrix",
                  "attention.experts.1.o_proj.weight 33x60 matrix",
                  "attention.k_proj.weight 30x33 matrix", "attention.v_proj.weight 30x33 matrix"));
}

// Keys and values of all experts count, queries and outputs of the selected ones.
TEST(MixtureAttentionPlanTest, CountsWhatATokenMeets) {
  constexpr uint64_t kQuery = 60 * 33, kKeys = 2 * 30 * 33, kRouter = 3 * 33;
  const MixtureAttentionPlan shared =
      PlanMixture(TopKAttention(SoftAttention(3, MixtureKv::kShared), 2, false));
  const MixtureAttentionPlan own =
      PlanMixture(TopKAttention(SoftAttention(3, MixtureKv::kExpert), 2, false));

  EXPECT_EQ(shared.IdleParameters(), 2 * kQuery);
  EXPECT_EQ(own.IdleParameters(), 2 * kQuery);
  EXPECT_EQ(shared.Flops(5), 2 * (kRouter + 2 * 2 * kQuery + kKeys) + 2 * 5 * 2 * 60);
  EXPECT_EQ(own.Flops(5), 2 * (kRouter + 2 * 2 * kQuery + 3 * kKeys) + 2 * 5 * 2 * 60);
  EXPECT_EQ(PlanMixture(SoftAttention(3, MixtureKv::kShared)).IdleParameters(), 0u);
}

TEST(MixtureAttentionPlanTest, NeedsAGateForEachExpertAndHead) {
  const BufferWidths widths = PlanMixture(SoftAttention(3, MixtureKv::kExpert)).Buffers();
  EXPECT_EQ(widths.qkv, 18u * 10 + 2 * 9 * 10);
  EXPECT_EQ(widths.attended, 180u);
  EXPECT_EQ(widths.gates, 3u);
  EXPECT_EQ(widths.head_gates, 18u);
}

TEST(MixtureAttentionPlanTest, IsASetOfExperts) {
  AttentionConfig config = TopKAttention(SoftAttention(3, MixtureKv::kExpert), 2, true);
  config.mixture.expert_names = {"a", "b", "c"};
  const MixtureAttentionPlan plan = PlanMixture(config);

  ASSERT_EQ(plan.ExpertLayers().size(), 1u);
  const ExpertLayer layer = plan.ExpertLayers()[0];
  EXPECT_EQ(layer.kind, ExpertLayerKind::kMixtureAttention);
  EXPECT_EQ(layer.num_experts, 3u);
  EXPECT_EQ(layer.picks_per_token(), 2u);
  EXPECT_THAT(layer.expert_names, ElementsAre("a", "b", "c"));
  EXPECT_EQ(plan.router.expert_layer, 4);
  EXPECT_EQ(plan.Text(), R"(mixture of 3 experts, top 2 renormalised, own KV: "a", "b", "c")");
}

TEST(MixtureAttentionPlanTest, SpeaksTheWordsOfConfigJson) {
  EXPECT_EQ(PlanMixture(SoftAttention(3, MixtureKv::kShared)).Text(),
            "mixture of 3 experts, soft, shared KV");
  EXPECT_EQ(PlanMixture(SoftAttention(3, MixtureKv::kShared)).Fields(),
            ordered_json::parse(R"({"kind": "mixture", "num_experts": 3, "kv": "shared",
                "routing": "soft", "top_k": 3, "normalize_top_k": false, "expert_names": []})"));
  EXPECT_EQ(PlanMixture(TopKAttention(SoftAttention(3, MixtureKv::kExpert), 1, true)).Fields(),
            ordered_json::parse(R"({"kind": "mixture", "num_experts": 3, "kv": "expert",
                "routing": "top_k", "top_k": 1, "normalize_top_k": true, "expert_names": []})"));
}

}  // namespace
}  // namespace peerage::nn
