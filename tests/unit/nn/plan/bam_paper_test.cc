// The models of the BAM paper (arXiv 2408.08274, Tables 8 to 10): parameters and operations.
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "model/checkpoint/config/parse_model_config.h"
#include "model/config/model_config.h"
#include "model/nn/plan/model_plan.h"

namespace peerage::nn {
namespace {

constexpr char kSmallSize[] = R"("vocab_size": 256000, "hidden_size": 1024, "num_hidden_layers": 6,
    "num_attention_heads": 8, "num_key_value_heads": 8, "intermediate_size": 2048,
    "tie_word_embeddings": false)";
constexpr char kLargeSize[] = R"("vocab_size": 256000, "hidden_size": 2304, "num_hidden_layers": 18,
    "num_attention_heads": 18, "num_key_value_heads": 6, "intermediate_size": 9216,
    "tie_word_embeddings": true)";
constexpr char kPlain[] = R"({"kind": "dense"})";
constexpr char kOwnKv[] =
    R"({"kind": "mixture", "num_experts": 4, "kv": "expert", "routing": "soft"})";
constexpr char kSharedKv[] =
    R"({"kind": "mixture", "num_experts": 4, "kv": "shared", "routing": "soft"})";
constexpr char kFour[] = R"({"kind": "mixture", "num_experts": 4, "top_k": 1})";
constexpr char kSix[] = R"({"kind": "mixture", "num_experts": 6, "top_k": 3})";

ModelConfig Config(const char* size, const char* attention, const char* ffn) {
  const auto config = ParseModelConfig(absl::StrCat(
      R"({"model_type": "peerage", "format_version": 1, "head_dim": 128, "norm_type": "layernorm",
          "max_position_embeddings": 2048, "parallel_block": true, )",
      size, R"(, "attention": )", attention, R"(, "ffn": [)", ffn, "]}"));
  EXPECT_TRUE(config.ok()) << config.status();
  return config.value_or(ModelConfig());
}

TEST(BamPaperTest, ParametersAreThePapers) {
  const struct {
    const char *size, *attention, *ffn;
    uint64_t total;
  } kModels[] = {
      {kSmallSize, kPlain, kPlain, 587'209'728},     {kSmallSize, kOwnKv, kFour, 776'002'560},
      {kSmallSize, kSharedKv, kFour, 738'253'824},   {kSmallSize, kPlain, kFour, 700'480'512},
      {kLargeSize, kPlain, kPlain, 1'991'289'600},   {kLargeSize, kOwnKv, kFour, 6'195'886'848},
      {kLargeSize, kSharedKv, kFour, 6'004'783'872}, {kLargeSize, kPlain, kFour, 5'431'309'056},
  };
  for (const auto& [size, attention, ffn, total] : kModels) {
    EXPECT_EQ(PlanModel(Config(size, attention, ffn)).Parameters(), total) << attention << ffn;
  }
}

TEST(BamPaperTest, OperationsOfALayerAreThePapers) {
  const struct {
    const char *attention, *ffn;
    uint64_t flops;
  } kLayers[] = {
      {kOwnKv, kFour, 48'250'880}, {kPlain, kFour, 21'504'000}, {kPlain, kSix, 46'673'920}};
  for (const auto& [attention, ffn, flops] : kLayers) {
    const ModelConfig config = Config(kSmallSize, attention, ffn);
    EXPECT_EQ(PlanModel(config).blocks.at(0).Flops(256), flops) << attention << ffn;
  }
}

}  // namespace
}  // namespace peerage::nn
