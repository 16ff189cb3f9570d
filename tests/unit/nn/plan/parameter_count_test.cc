#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "model/checkpoint/config/parse_model_config.h"
#include "model/nn/plan/model_plan.h"

namespace peerage::nn {
namespace {

using nlohmann::json;

json SmolLm2() {
  return json::parse(R"({
      "model_type": "peerage", "format_version": 1, "vocab_size": 49152, "hidden_size": 576,
      "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
      "num_key_value_heads": 3, "max_position_embeddings": 8192, "tie_word_embeddings": true})");
}

struct ParameterCount {
  uint64_t total = 0;
  uint64_t active = 0;
};

ParameterCount Count(const json& text) {
  const auto config = ParseModelConfig(text.dump());
  EXPECT_TRUE(config.ok()) << config.status();
  const ModelPlan plan = PlanModel(*config);
  return {plan.Parameters(), plan.ActiveParameters()};
}

// The published count, and that of the dense model of the BAM paper (Table 9), less its router.
TEST(ParameterCountTest, IsThePublishedOneOfDenseModels) {
  EXPECT_EQ(Count(SmolLm2()).total, 134'515'008u);
  EXPECT_EQ(Count(SmolLm2()).active, 134'515'008u);

  const json bam_seed = json::parse(R"({
      "model_type": "peerage", "format_version": 1, "vocab_size": 256000, "hidden_size": 1024,
      "intermediate_size": 2048, "num_hidden_layers": 6, "num_attention_heads": 8,
      "num_key_value_heads": 8, "head_dim": 128, "parallel_block": true,
      "norm_type": "layernorm", "max_position_embeddings": 2048})");
  EXPECT_EQ(Count(bam_seed).total, 587'209'728u);
}

constexpr char kPeerPart[] =
    R"([{"kind": "dense"}, {"kind": "peer", "num_experts": 65536, "heads": 8,
                              "top_k": 16, "key_dim": 128}])";

TEST(ParameterCountTest, CountsOfAPeerLayerOnlyWhatOneTokenSelects) {
  json text = SmolLm2();
  text["layers"]["15"]["ffn"] = json::parse(kPeerPart);

  const uint64_t router = 8 * 128 * 576 + 2 * 256 * 64;
  EXPECT_EQ(Count(text).total, 134'515'008u + router + 2 * 65536 * 576);
  EXPECT_EQ(Count(text).active, 134'515'008u + router + 2 * 128 * 576);

  text["layers"]["15"]["ffn"][1]["glu"] = true;
  EXPECT_EQ(Count(text).total, 134'515'008u + router + 3 * 65536 * 576);
  EXPECT_EQ(Count(text).active, 134'515'008u + router + 3 * 128 * 576);

  text["layers"]["15"]["ffn"][1] = json::parse(kPeerPart)[1];
  text["layers"]["15"]["ffn"][1]["experts"] = "per_head";
  EXPECT_EQ(Count(text).total, 134'515'008u + router + uint64_t{2} * 8 * 65536 * 576);
  EXPECT_EQ(Count(text).active, 134'515'008u + router + 2 * 128 * 576);

  text["layers"]["15"]["ffn"][1] = json::parse(kPeerPart)[1];
  text["layers"]["15"]["ffn"][1]["kind"] = "pkm";
  EXPECT_EQ(Count(text).total, 134'515'008u + router + 65536 * 576);
  EXPECT_EQ(Count(text).active, 134'515'008u + router + 128 * 576);
}

TEST(ParameterCountTest, NeverSelectsMoreExpertsThanThereAre) {
  json text = SmolLm2();
  text["ffn"] = json::parse(kPeerPart);
  text["ffn"][1]["num_experts"] = 64;

  EXPECT_EQ(Count(text).active, Count(text).total);
}

}  // namespace
}  // namespace peerage::nn
