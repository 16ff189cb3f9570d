#include "model/nn/plan/model_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/match.h"
#include "model/checkpoint/config/parse_model_config.h"
#include "tests/support/mixture_models.h"
#include "tests/support/odd_models.h"
#include "tests/unit/nn/plan/plan_text.h"

namespace peerage::nn {
namespace {

using nlohmann::ordered_json;
using ::testing::ElementsAre;

// Every part of a model with its fields in the words of config.json.
template <typename Visitor>
void ForEachPartOf(const ModelConfig& config, const Visitor& visit) {
  const ModelPlan plan = PlanModel(config);
  for (const BlockPlan& block : plan.blocks) block.ForEachPart(visit);
}

// A config of one layer whose attention and feed-forward parts are said by fields.
LayerConfig ParsedLayer(const ordered_json& attention, const ordered_json& ffn) {
  const ordered_json text = {{"model_type", "peerage"},  {"format_version", 1},
                             {"vocab_size", 97},         {"hidden_size", 33},
                             {"head_dim", 10},           {"intermediate_size", 31},
                             {"num_hidden_layers", 1},   {"num_attention_heads", 6},
                             {"num_key_value_heads", 3}, {"max_position_embeddings", 257},
                             {"attention", attention},   {"ffn", ffn}};
  const auto config = ParseModelConfig(text.dump());
  EXPECT_TRUE(config.ok()) << config.status() << text;
  return config.ok() ? config->layers[0] : LayerConfig{};
}

// What config.json says only of some choices.
ordered_json WithoutImplied(ordered_json fields) {
  if (fields.is_string()) return {{"kind", fields}};
  if (fields.value("routing", "") == "soft") {
    fields.erase("top_k");
    fields.erase("normalize_top_k");
  }
  if (fields.value("keys", "") == "direct") fields.erase("key_dim");
  if (fields.contains("query_norm_eps") && fields["query_norm"] == "none") {
    fields.erase("query_norm_eps");
  }
  if (fields.contains("expert_names") && fields["expert_names"].empty()) {
    fields.erase("expert_names");
  }
  return fields;
}

// A config.json of the fields that inspection shows is the same config again.
TEST(ModelPlanTest, FieldsAreThoseThatTheConfigIsReadFrom) {
  for (const auto& [name, config] : OddModels()) {
    SCOPED_TRACE(name);
    const ModelPlan plan = PlanModel(config);
    for (size_t i = 0; i < plan.blocks.size(); ++i) {
      const auto fields = [](const auto& part) { return WithoutImplied(part.Fields()); };
      ordered_json ffn = ordered_json::array();
      for (const FeedForwardPlan& part : plan.blocks[i].ffn) {
        ffn.push_back(std::visit(fields, part));
      }
      LayerConfig expected = config.layers[i];
      for (FfnConfig& part : expected.ffn) {
        // The layout of other projects has this norm; config.json calls both pre_rmsnorm.
        auto* peer = std::get_if<PeerConfig>(&part);
        if (peer != nullptr && peer->norm == PeerNorm::kL2) peer->norm = PeerNorm::kRms;
      }
      EXPECT_EQ(ParsedLayer(std::visit(fields, plan.blocks[i].attention), ffn), expected) << ffn;
    }
  }
}

TEST(ModelPlanTest, TensorsComeInTheOrderInWhichATokenMeetsThem) {
  ModelConfig config = OddConfig();
  config.layers = {{.ffn = {ProductKeyMemoryConfig{OddKeys(5, 1, 2)}, DenseFfnConfig{7}}}};
  EXPECT_THAT(
      TextsOf(PlanModel(config).Tensors()),
      ElementsAre("model.embed_tokens.weight 97x33 matrix", "input_norm.weight 33 norm",
                  "attention.q_proj.weight 60x33 matrix", "attention.k_proj.weight 30x33 matrix",
                  "attention.v_proj.weight 30x33 matrix", "attention.o_proj.weight 33x60 matrix",
                  "post_attention_norm.weight 33 norm", "ffn.pkm.query.weight 14x33 router",
                  "ffn.pkm.sub_keys 2x5x7 router", "ffn.pkm.values.weight 25x33 table",
                  "ffn.dense.gate_proj.weight 7x33 matrix", "ffn.dense.up_proj.weight 7x33 matrix",
                  "ffn.dense.down_proj.weight 33x7 matrix", "model.norm.weight 33 norm"));
}

TEST(ModelPlanTest, OnlyAnUntiedModelHasAHead) {
  ModelConfig config = OddConfig();
  EXPECT_FALSE(PlanModel(config).head.has_value());
  const size_t tied = PlanModel(config).Tensors().size();
  config.tied_embeddings = false;
  const ModelPlan plan = PlanModel(config);
  ASSERT_EQ(plan.Tensors().size(), tied + 1);
  EXPECT_EQ(TextOf(plan.Tensors().back()), "lm_head.weight 97x33 matrix");
  EXPECT_EQ(plan.Parameters(), PlanModel(OddConfig()).Parameters() + 97 * 33);
}

TEST(ModelPlanTest, AParallelBlockHasOneNorm) {
  ModelConfig config = OddConfig();
  config.norm_type = NormType::kLayerNorm;
  const ModelPlan sequential = PlanModel(config);
  ASSERT_TRUE(sequential.blocks[2].post_attention_norm.has_value());
  const NormPlan& norm = *sequential.blocks[2].post_attention_norm;
  EXPECT_EQ(norm.weight, "model.layers.2.post_attention_norm.weight");
  EXPECT_EQ(norm.type, NormType::kLayerNorm);
  EXPECT_EQ(norm.epsilon, 3e-4f);
  EXPECT_EQ(norm.width, 33);

  config.parallel_block = true;
  const ModelPlan parallel = PlanModel(config);
  EXPECT_FALSE(parallel.blocks[2].post_attention_norm.has_value());
  for (const PlannedTensor& tensor : parallel.Tensors()) {
    EXPECT_FALSE(absl::StrContains(tensor.name, "post_attention")) << tensor.name;
  }
}

// Attention before feed-forward parts, layer by layer; parts without experts take no index.
TEST(ModelPlanTest, ExpertLayersAreNumberedAsATokenMeetsThem) {
  for (const auto& [name, config] : OddModels()) {
    const std::vector<ExpertLayer> layers = PlanModel(config).ExpertLayers();
    int next = 0;
    ForEachPartOf(config, [&](const auto& part) {
      if (part.ExpertLayers().empty()) return;
      ASSERT_LT(next, static_cast<int>(layers.size()));
      EXPECT_EQ(layers[next].layer, part.ExpertLayers()[0].layer) << name;
      EXPECT_EQ(layers[next].kind, part.ExpertLayers()[0].kind) << name;
      if constexpr (requires { part.router.expert_layer; }) {
        EXPECT_EQ(part.router.expert_layer, next) << name;
      }
      ++next;
    });
    EXPECT_EQ(next, static_cast<int>(layers.size())) << name;
  }

  std::vector<std::string> listed;
  for (const ExpertLayer& layer : PlanModel(OddModels()[4].config).ExpertLayers()) {
    const char* const kKinds[] = {"peer", "pkm", "ffn", "attention"};
    listed.push_back(absl::StrCat(layer.layer, " ", kKinds[static_cast<int>(layer.kind)]));
  }
  EXPECT_THAT(listed, ElementsAre("0 attention", "0 ffn", "1 attention", "1 ffn", "2 attention",
                                  "2 peer", "2 ffn"));
}

// Weighing what every part says, written down by hand for one model.
TEST(ModelPlanTest, CountsAreSumsOverParts) {
  ModelConfig config = OddConfig();
  config.layers.resize(2);
  config.layers[1].ffn = {PeerConfig{.keys = OddKeys(9, 2, 5)}};
  config.layers[1].attention = TopKAttention(SoftAttention(4, MixtureKv::kExpert), 3, false);
  const ModelPlan plan = PlanModel(config);

  const uint64_t query = 60 * 33, keys = 2 * 30 * 33;
  const uint64_t norms = 5 * 33, embedding = 97 * 33;
  const uint64_t first = 2 * query + keys + 3 * 31 * 33;
  const uint64_t second = 4 * 33 + 4 * (2 * query + keys) + 2 * 14 * 33 + 2 * 9 * 7 + 2 * 81 * 33;
  EXPECT_EQ(plan.Parameters(), embedding + norms + first + second);
  EXPECT_EQ(plan.ActiveParameters(), plan.Parameters() - 2 * query - (81 - 10) * 2 * 33);
  EXPECT_EQ(plan.KvValues(), 60u + 4 * 60);
  EXPECT_EQ(plan.blocks[1].KvValues(), 240u);
  EXPECT_EQ(plan.blocks[0].HeadDim(), 10);
  EXPECT_EQ(plan.blocks[0].Flops(11), 2 * first + 2 * 11 * 60);
}

// The most that any part needs of each, and the residual stream's width as input at least.
TEST(ModelPlanTest, BuffersAreTheMostOfAnyPart) {
  ModelConfig config = OddConfig();
  config.num_heads = config.num_kv_heads = 1;
  config.layers.resize(2);
  config.layers[0].ffn = {DenseFfnConfig{31}, DenseFfnConfig{101}};
  config.layers[1].ffn = {PeerConfig{.keys = OddKeys(9, 2, 5)}, DenseFfnConfig{3}};
  const BufferWidths widths = PlanModel(config).Buffers();
  EXPECT_EQ(widths.hidden, 101u);
  EXPECT_EQ(widths.input, 101u);
  EXPECT_EQ(widths.queries, 28u);
  EXPECT_EQ(widths.qkv, 30u);

  config.layers = {{.ffn = {DenseFfnConfig{3}}}};
  EXPECT_EQ(PlanModel(config).Buffers().input, 33u);
}

TEST(BufferWidthsTest, RaiseToTakesTheLargerOfEach) {
  BufferWidths widths{.qkv = 1, .attended = 9, .hidden = 3, .input = 4, .expert_input = 5};
  widths.RaiseTo({.qkv = 7,
                  .attended = 2,
                  .hidden = 3,
                  .input = 5,
                  .queries = 6,
                  .head_sums = 7,
                  .gates = 8,
                  .head_gates = 9,
                  .picked = 10});
  EXPECT_EQ(widths.qkv, 7u);
  EXPECT_EQ(widths.attended, 9u);
  EXPECT_EQ(widths.hidden, 3u);
  EXPECT_EQ(widths.input, 5u);
  EXPECT_EQ(widths.expert_input, 5u);
  EXPECT_EQ(widths.queries, 6u);
  EXPECT_EQ(widths.head_sums, 7u);
  EXPECT_EQ(widths.gates, 8u);
  EXPECT_EQ(widths.head_gates, 9u);
  EXPECT_EQ(widths.picked, 10u);
}

// Whatever lies side by side is rows or columns of tensors that the part asks for, each exactly
// once.
TEST(ModelPlanTest, EveryRowOfAnAttentionsMatricesHasOnePlace) {
  for (const auto& [name, config] : OddModels()) {
    for (const BlockPlan& block : PlanModel(config).blocks) {
      const auto* mixture = std::get_if<MixtureAttentionPlan>(&block.attention);
      if (mixture == nullptr) continue;
      std::multiset<std::pair<std::string, int64_t>> placed;
      for (const MatrixSource* source : {&mixture->wide.qkv, &mixture->wide.output}) {
        for (const MatrixSlice& slice : source->slices) {
          for (int64_t i = 0; i < slice.count; ++i) placed.insert({slice.tensor, slice.first + i});
        }
      }
      size_t asked = 0;
      for (const PlannedTensor& tensor : mixture->Tensors()) {
        if (tensor.role == TensorRole::kRouter) continue;
        const bool columns = absl::StrContains(tensor.name, "o_proj");
        const int64_t count = tensor.shape[columns ? 1 : 0];
        asked += count;
        for (int64_t i = 0; i < count; ++i) {
          EXPECT_EQ(placed.count({tensor.name, i}), 1u) << name << " " << tensor.name << " " << i;
        }
      }
      EXPECT_EQ(placed.size(), asked) << name;
    }
  }
}

}  // namespace
}  // namespace peerage::nn
