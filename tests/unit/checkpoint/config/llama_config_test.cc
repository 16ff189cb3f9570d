#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "model/checkpoint/config/parse_model_config.h"
#include "model/config/model_config.h"
#include "tests/support/small_models.h"

namespace peerage {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Optional;

absl::StatusOr<ModelConfig> ParsePatched(const char* patch) {
  json text = json::parse(kSmallLlamaConfig);
  text.update(json::parse(patch));
  return ParseModelConfig(text.dump());
}

TEST(LlamaConfigTest, ReadsWhatIsSetAndListsWhatHasNoEffect) {
  std::vector<std::string> ignored;

  const auto config = ParseModelConfig(kSmallLlamaConfig, &ignored);

  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->architecture, "llama");
  EXPECT_EQ(config->vocab_size, 8);
  EXPECT_EQ(config->hidden_size, 32);
  EXPECT_EQ(config->num_heads, 2);
  EXPECT_EQ(config->num_kv_heads, 1);
  EXPECT_EQ(config->head_dim, 16);
  EXPECT_EQ(config->activation, Activation::kSilu);
  EXPECT_EQ(config->norm_type, NormType::kRmsNorm);
  EXPECT_EQ(config->norm_eps, 1e-5f);
  EXPECT_EQ(config->rope_theta, 10000.0f);
  EXPECT_FALSE(config->rope_interleaved);
  EXPECT_EQ(config->max_positions, 64);
  EXPECT_FALSE(config->tied_embeddings);
  EXPECT_FALSE(config->parallel_block);
  EXPECT_THAT(config->bos_id, Optional(1u));
  EXPECT_THAT(config->eos_ids, ElementsAre(2));
  ASSERT_EQ(config->layers.size(), 1u);
  EXPECT_EQ(std::get<DenseFfnConfig>(config->layers[0].ffn[0]).intermediate_size, 64);
  EXPECT_THAT(ignored, ElementsAre("architectures", "torch_dtype"));
}

TEST(LlamaConfigTest, TakesTheLibrarysDefaultsForAbsentKeys) {
  const auto config = ParseModelConfig(R"({"model_type": "llama", "vocab_size": 8,
      "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
      "num_attention_heads": 4, "max_position_embeddings": 64})");

  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->num_kv_heads, 4);
  EXPECT_EQ(config->head_dim, 8);
  EXPECT_EQ(config->norm_eps, 1e-6f);
  EXPECT_EQ(config->rope_theta, 10000.0f);
  EXPECT_FALSE(config->tied_embeddings);
  EXPECT_EQ(config->bos_id, std::nullopt);
  EXPECT_THAT(config->eos_ids, IsEmpty());
}

TEST(LlamaConfigTest, TakesListsAndNullsAsSpecialTokens) {
  const auto config = ParsePatched(R"({"bos_token_id": null, "eos_token_id": [2, 3]})");

  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->bos_id, std::nullopt);
  EXPECT_THAT(config->eos_ids, ElementsAre(2, 3));
}

TEST(LlamaConfigTest, FindsTheRotaryBaseInsideRopeParameters) {
  const auto config = ParsePatched(
      R"({"rope_theta": null, "rope_parameters": {"rope_type": "default", "rope_theta": 5e5}})");

  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->rope_theta, 5e5f);
}

TEST(LlamaConfigTest, ReadsTheLibrarysNamesOfActivations) {
  const std::pair<const char*, Activation> kActivations[] = {
      {R"({"hidden_act": "silu"})", Activation::kSilu},
      {R"({"hidden_act": "swish"})", Activation::kSilu},
      {R"({"hidden_act": "gelu"})", Activation::kGelu},
      {R"({"hidden_act": "gelu_new"})", Activation::kGeluTanh},
      {R"({"hidden_act": "gelu_pytorch_tanh"})", Activation::kGeluTanh},
      {R"({"hidden_act": "relu"})", Activation::kRelu}};
  for (const auto& [patch, activation] : kActivations) {
    const auto config = ParsePatched(patch);
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_EQ(config->activation, activation) << patch;
  }
}

TEST(LlamaConfigTest, AcceptsNeutralValues) {
  for (const char* patch :
       {R"({"attention_bias": false, "mlp_bias": false})",
        R"({"rope_scaling": null, "quantization_config": null, "sliding_window": null})",
        R"({"rope_scaling": {"type": "default"}})", R"({"rope_scaling": {"rope_type": "default"}})",
        R"({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 1.0}})",
        R"({"rope_theta": 5e5, "rope_parameters": {"rope_theta": 5e5}})",
        R"({"rope_interleaved": false, "partial_rotary_factor": 1.0})",
        R"({"logits_scaling": 1.0, "embedding_multiplier": 1, "residual_multiplier": 1.0})",
        R"({"layer_types": ["full_attention"], "use_sliding_window": false})"}) {
    EXPECT_TRUE(ParsePatched(patch).ok()) << patch << ": " << ParsePatched(patch).status();
  }
}

struct BadLlamaConfig {
  const char* patch;
  const char* error;
};

TEST(LlamaConfigTest, RefusesWhatChangesTheFunctionByName) {
  const BadLlamaConfig kConfigs[] = {
      {R"({"attention_bias": true})", "attention_bias is true, which is not supported (false is)"},
      {R"({"mlp_bias": true})", "mlp_bias"},
      {R"({"attention_multiplier": 0.5})", "attention_multiplier"},
      {R"({"attn_logit_softcapping": 50.0})", "attn_logit_softcapping"},
      {R"({"final_logit_softcapping": 30.0})", "final_logit_softcapping"},
      {R"({"clip_qkv": 8.0})", "clip_qkv"},
      {R"({"embedding_multiplier": 12.0})", "embedding_multiplier"},
      {R"({"logit_scale": 0.0625})", "logit_scale"},
      {R"({"logits_scaling": 8.0})", "logits_scaling"},
      {R"({"residual_multiplier": 0.22})", "residual_multiplier"},
      {R"({"is_encoder_decoder": true})", "is_encoder_decoder"},
      {R"({"no_rope_layers": [1, 0]})", "no_rope_layers"},
      {R"({"no_rope_layer_interval": 4})", "no_rope_layer_interval"},
      {R"({"num_experts": 8})", "num_experts"},
      {R"({"num_local_experts": 8})", "num_local_experts"},
      {R"({"partial_rotary_factor": 0.5})", "partial_rotary_factor"},
      {R"({"qk_norm": true})", "qk_norm"},
      {R"({"use_qk_norm": true})", "use_qk_norm"},
      {R"({"quantization_config": {"quant_method": "gptq"}})",
       "quantization_config is {\"quant_method\":\"gptq\"}, which is not supported (null is)"},
      {R"({"query_pre_attn_scalar": 256})", "query_pre_attn_scalar"},
      {R"({"rope_interleaved": true})", "rope_interleaved"},
      {R"({"sliding_window": 4096})", "sliding_window is 4096, which"},
      {R"({"use_sliding_window": true})", "use_sliding_window"},
      {R"({"layer_types": ["sliding_attention"]})", "layer_types"},
      {R"({"layer_types": 1})", "layer_types"},
      {R"({"rope_scaling": {"type": "linear", "factor": 2.0}})",
       "rope_scaling.type is \"linear\", which"},
      {R"({"rope_theta": 1e4, "rope_parameters": {"rope_theta": 5e5}})",
       "rope_parameters.rope_theta is 500000, but rope_theta 10000"},
      {R"({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}})",
       "rope_scaling.rope_type is \"llama3\", which is not supported (\"default\" is)"},
      {R"({"rope_scaling": {"factor": 8.0}})", "rope_scaling.factor"},
      {R"({"rope_scaling": 2.0})", "rope_scaling"},
      {R"({"rope_parameters": {"rope_type": "yarn"}})", "rope_parameters.rope_type"},
      {R"({"rope_parameters": {"rope_theta": 0}})", "rope_parameters.rope_theta is 0"},
      {R"({"rope_parameters": {"partial_rotary_factor": 0.25}})", "partial_rotary_factor"},
      {R"({"hidden_act": "gelu_fast"})",
       "hidden_act is \"gelu_fast\", which is not supported (silu, swish, gelu"},
      {R"({"rms_norm_eps": 0})", "rms_norm_eps is 0"},
      {R"({"num_hidden_layers": 0})", "num_hidden_layers is 0"},
      {R"({"intermediate_size": null})", "intermediate_size is missing"},
      {R"({"max_position_embeddings": null})", "max_position_embeddings is missing"},
      {R"({"model_type": "mistral"})",
       "model_type is \"mistral\", which is not supported (\"peerage\", \"llama\" and \"mixtral\" "
       "are)"},
  };
  for (const auto& [patch, error] : kConfigs) {
    const auto config = ParsePatched(patch);
    EXPECT_FALSE(config.ok()) << patch;
    EXPECT_THAT(std::string(config.status().message()), HasSubstr(error)) << patch;
  }
}

}  // namespace
}  // namespace peerage
