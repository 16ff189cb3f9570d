#include "model/nn/plan/feed_forward_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "model/nn/plan/product_key_plan.h"
#include "tests/support/odd_models.h"
#include "tests/unit/nn/plan/plan_text.h"

namespace peerage::nn {
namespace {

using nlohmann::ordered_json;
using ::testing::ElementsAre;

template <typename Plan, typename Config>
Plan PlanPartOf(const Config& config) {
  const ModelConfig model = OddConfig();
  return Plan(config, PartPlace{.model = model, .prefix = "ffn.", .layer = 2, .expert_layer = 5});
}

DenseFfnPlan PlanDense(int width) { return PlanPartOf<DenseFfnPlan>(DenseFfnConfig{width}); }
PeerPlan PlanPeer(const PeerConfig& config) { return PlanPartOf<PeerPlan>(config); }
ProductKeyMemoryPlan PlanMemoryOf(const ProductKeyConfig& keys) {
  return PlanPartOf<ProductKeyMemoryPlan>(ProductKeyMemoryConfig{keys});
}
MixtureFfnPlan PlanMixtureOf(int experts, int top_k, bool normalize) {
  return PlanPartOf<MixtureFfnPlan>(MixtureFfnConfig{
      .intermediate_size = 31,
      .mixture = {.num_experts = experts, .top_k = top_k, .normalize_top_k = normalize}});
}

TEST(DenseFfnPlanTest, HasGateAndUpSideBySide) {
  const DenseFfnPlan plan = PlanDense(31);
  EXPECT_THAT(TextsOf(plan.Tensors()),
              ElementsAre("ffn.gate_proj.weight 31x33 matrix", "ffn.up_proj.weight 31x33 matrix",
                          "ffn.down_proj.weight 33x31 matrix"));
  EXPECT_THAT(TextsOf(plan.gate_up), ElementsAre("ffn.gate 0+31", "ffn.up 0+31"));
  EXPECT_THAT(TextsOf(plan.down), ElementsAre("ffn.down 0+33"));
  EXPECT_EQ(plan.Flops(1000), 2u * 3 * 31 * 33);
  EXPECT_EQ(plan.IdleParameters(), 0u);
  EXPECT_TRUE(plan.ExpertLayers().empty());
  EXPECT_EQ(plan.Text(), "dense 31");
  EXPECT_EQ(plan.Fields(), ordered_json::parse(R"({"kind": "dense", "intermediate_size": 31})"));
}

// The widest input is that of the first two matrices or of the last one.
TEST(DenseFfnPlanTest, InputIsTheWiderSide) {
  EXPECT_EQ(PlanDense(31).Buffers().input, 33u);
  EXPECT_EQ(PlanDense(97).Buffers().input, 97u);
  EXPECT_EQ(PlanDense(97).Buffers().hidden, 97u);
}

TEST(MixtureFfnPlanTest, HasARouterAndDenseExperts) {
  const MixtureFfnPlan plan = PlanMixtureOf(2, 1, false);
  EXPECT_THAT(TextsOf(plan.Tensors()), ElementsAre("ffn.router.weight 2x33 router",
                                                   "ffn.experts.0.gate_proj.weight 31x33 matrix",
                                                   "ffn.experts.0.up_proj.weight 31x33 matrix",
                                                   "ffn.experts.0.down_proj.weight 33x31 matrix",
                                                   "ffn.experts.1.gate_proj.weight 31x33 matrix",
                                                   "ffn.experts.1.up_proj.weight 31x33 matrix",
                                                   "ffn.experts.1.down_proj.weight 33x31 matrix"));
  EXPECT_EQ(plan.Text(), "mixture of 2 experts, top 1, each dense 31");
  EXPECT_EQ(PlanMixtureOf(2, 2, false).Text(), "mixture of 2 experts, soft, each dense 31");
}

TEST(MixtureFfnPlanTest, CountsTheExpertsThatATokenMeets) {
  constexpr uint64_t kExpert = 3 * 31 * 33;
  const MixtureFfnPlan plan = PlanMixtureOf(5, 2, true);
  EXPECT_EQ(plan.IdleParameters(), 3 * kExpert);
  EXPECT_EQ(plan.Flops(9), 2 * (5 * 33 + 2 * kExpert));
  const BufferWidths widths = plan.Buffers();
  EXPECT_EQ(widths.hidden, 2u * 31);
  EXPECT_EQ(widths.input, 2u * 33);
  EXPECT_EQ(widths.picked, 2u);
  EXPECT_EQ(widths.ffn_gates, 5u);
}

TEST(PeerPlanTest, OfThePapersLayer) {
  const PeerPlan plan = PlanPeer({.keys = OddKeys(23, 3, 6)});
  EXPECT_THAT(TextsOf(plan.Tensors()),
              ElementsAre("ffn.query.weight 42x33 router", "ffn.sub_keys 2x23x7 router",
                          "ffn.down.weight 529x33 table", "ffn.up.weight 529x33 table"));
  const ExpertLayer layer = plan.ExpertLayers().at(0);
  EXPECT_EQ(layer.layer, 2u);
  EXPECT_EQ(layer.kind, ExpertLayerKind::kPeer);
  EXPECT_EQ(layer.num_experts, 529u);
  EXPECT_EQ(layer.heads, 3u);
  EXPECT_EQ(layer.top_k, 6u);
  EXPECT_EQ(plan.router.expert_layer, 5);
  EXPECT_EQ(plan.IdleParameters(), (529u - 18) * 2 * 33);
  EXPECT_EQ(plan.Flops(9), 2u * (42 * 33 + 3 * 2 * 23 * 7 + 18 * 2 * 33));
  EXPECT_EQ(plan.Text(),
            "peer of 529 experts, 3 heads x top 6, keys shared, key_dim 14, "
            "score softmax, activation gelu");
}

// Everything that a PEER layer can have besides; the batch norm is over all heads' queries.
TEST(PeerPlanTest, OfARichLayer) {
  ProductKeyConfig keys = OddKeys(9, 5, 7);
  keys.keys = ProductKeys::kPerHead;
  keys.per_head_experts = true;
  keys.query_bias = true;
  keys.query_norm = QueryNorm::kBatch;
  keys.query_norm_eps = 0.25f;
  keys.score = RouterScore::kSigmoid;
  const PeerPlan plan = PlanPeer(
      {.keys = keys, .activation = Activation::kSilu, .glu = true, .norm = PeerNorm::kRms});

  EXPECT_THAT(TextsOf(plan.Tensors()),
              ElementsAre("ffn.norm.weight 33 norm", "ffn.query.weight 70x33 router",
                          "ffn.query.bias 70 router", "ffn.query_norm.weight 70 router",
                          "ffn.query_norm.bias 70 router", "ffn.query_norm.running_mean 70 router",
                          "ffn.query_norm.running_var 70 variance", "ffn.sub_keys 5x2x9x7 router",
                          "ffn.down.weight 405x33 table", "ffn.up.weight 405x33 table",
                          "ffn.gate.weight 405x33 table"));
  EXPECT_TRUE(plan.router.norm->running.has_value());
  EXPECT_EQ(plan.router.norm->epsilon, 0.25f);
  EXPECT_EQ(plan.norm->epsilon, OddConfig().norm_eps);
  EXPECT_EQ(plan.ExpertLayers().at(0).num_experts, 405u);
  EXPECT_EQ(plan.IdleParameters(), (405u - 35) * 3 * 33);
  EXPECT_EQ(plan.Flops(0), 2u * (70 * 33 + 5 * 2 * 9 * 7 + 35 * 3 * 33));
  EXPECT_EQ(plan.Buffers().expert_input, 33u);
  EXPECT_EQ(plan.Buffers().queries, 70u);
  EXPECT_EQ(plan.Buffers().head_sums, 5u * 33);
  EXPECT_EQ(plan.Text(),
            "peer of 81 experts for each head, 5 heads x top 7, keys per_head, key_dim 14, score "
            "sigmoid, query_bias, query_norm batch, query_norm_eps 0.25, activation silu, glu, "
            "pre_rmsnorm");
}

TEST(PeerPlanTest, ALayerNormIsOfOneHeadAndIsNotFolded) {
  ProductKeyConfig keys = OddKeys(9, 5, 7);
  keys.query_norm = QueryNorm::kLayer;
  const PeerPlan plan = PlanPeer({.keys = keys});
  EXPECT_EQ(TextOf(plan.router.norm->weight), "ffn.query_norm.weight 14 router");
  EXPECT_EQ(TextOf(plan.router.norm->bias), "ffn.query_norm.bias 14 router");
  EXPECT_FALSE(plan.router.norm->running.has_value());
  EXPECT_EQ(plan.Tensors().size(), 6u);
}

// |x| is the root of d times the mean square, so the epsilon of the mean is that of |x|^2 / d.
TEST(PeerPlanTest, ScalingByLengthIsANormWithAnEpsilonOfItsOwn) {
  const PeerPlan plan = PlanPeer({.keys = OddKeys(5, 1, 1), .norm = PeerNorm::kL2});
  EXPECT_FLOAT_EQ(plan.norm->epsilon, 1e-24f / 33);
  EXPECT_EQ(plan.norm->type, NormType::kRmsNorm);
}

TEST(PeerPlanTest, DirectKeysAreOneMatrixOfScores) {
  ProductKeyConfig keys = OddKeys(5, 3, 11);
  keys.keys = ProductKeys::kDirect;
  keys.key_dim = 0;
  keys.query_bias = true;
  const PeerPlan plan = PlanPeer({.keys = keys});
  EXPECT_THAT(TextsOf(plan.Tensors()),
              ElementsAre("ffn.router.weight 3x2x5x33 router", "ffn.router.bias 3x2x5 router",
                          "ffn.down.weight 25x33 table", "ffn.up.weight 25x33 table"));
  EXPECT_EQ(plan.Buffers().queries, 3u * 2 * 5);
  EXPECT_EQ(plan.IdleParameters(), 0u);  // 33 picks of 25 experts
  EXPECT_EQ(plan.Flops(0), 2u * (3 * 2 * 5 * 33 + 33 * 2 * 33));
  EXPECT_EQ(plan.Text(),
            "peer of 25 experts, 3 heads x top 11, keys direct, score softmax, "
            "query_bias, activation gelu");
}

TEST(ProductKeyMemoryPlanTest, HasOneVectorForEachValue) {
  const ProductKeyMemoryPlan plan = PlanMemoryOf(OddKeys(17, 1, 3));
  EXPECT_THAT(TextsOf(plan.Tensors()),
              ElementsAre("ffn.query.weight 14x33 router", "ffn.sub_keys 2x17x7 router",
                          "ffn.values.weight 289x33 table"));
  EXPECT_EQ(plan.ExpertLayers().at(0).kind, ExpertLayerKind::kProductKeyMemory);
  EXPECT_EQ(plan.IdleParameters(), (289u - 3) * 33);
  EXPECT_EQ(plan.Flops(9), 2u * (14 * 33 + 2 * 17 * 7 + 3 * 33));
  EXPECT_EQ(plan.Text(),
            "pkm of 289 experts, 1 head x top 3, keys shared, key_dim 14, score softmax");
  EXPECT_EQ(plan.Fields()["kind"], "pkm");
}

}  // namespace
}  // namespace peerage::nn
