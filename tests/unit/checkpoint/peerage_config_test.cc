#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "model/model_config.h"
#include "tests/support/small_models.h"

namespace peerage {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Optional;

// The example of docs/model_format.md with dense layers only.
constexpr char kFullConfig[] = R"({
  "architectures": ["PeerageForCausalLM"], "model_type": "peerage", "format_version": 1,
  "vocab_size": 49152, "hidden_size": 576, "num_hidden_layers": 30,
  "num_attention_heads": 9, "num_key_value_heads": 3, "head_dim": 32,
  "intermediate_size": 1536, "hidden_act": "gelu_tanh",
  "norm_type": "layernorm", "norm_eps": 1e-4, "rope_theta": 100000.0, "rope_interleaved": true,
  "max_position_embeddings": 8192, "tie_word_embeddings": true, "parallel_block": true,
  "bos_token_id": 1, "eos_token_id": [2, 5],
  "attention": {"kind": "dense"},
  "ffn": [{"kind": "dense", "intermediate_size": 768}],
  "layers": {"15": {"ffn": [{"kind": "dense"}]}, "3": {"attention": {"kind": "dense"}}}})";

TEST(PeerageConfigTest, ReadsEveryKey) {
  const auto config = ParseModelConfig(kFullConfig);

  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->architecture, "peerage");
  EXPECT_EQ(config->vocab_size, 49152);
  EXPECT_EQ(config->hidden_size, 576);
  EXPECT_EQ(config->num_heads, 9);
  EXPECT_EQ(config->num_kv_heads, 3);
  EXPECT_EQ(config->head_dim, 32);
  EXPECT_EQ(config->activation, Activation::kGeluTanh);
  EXPECT_EQ(config->norm_type, NormType::kLayerNorm);
  EXPECT_EQ(config->norm_eps, 1e-4f);
  EXPECT_EQ(config->rope_theta, 100000.0f);
  EXPECT_TRUE(config->rope_interleaved);
  EXPECT_EQ(config->max_positions, 8192);
  EXPECT_TRUE(config->tied_embeddings);
  EXPECT_TRUE(config->parallel_block);
  EXPECT_THAT(config->bos_id, Optional(1u));
  EXPECT_THAT(config->eos_ids, ElementsAre(2, 5));
  ASSERT_EQ(config->layers.size(), 30u);
  EXPECT_EQ(config->layers[3].ffn[0].intermediate_size, 768);
  EXPECT_EQ(config->layers[14].ffn[0].intermediate_size, 768);
  EXPECT_EQ(config->layers[15].ffn[0].intermediate_size, 1536);
}

TEST(PeerageConfigTest, HasDefaultsForWhatIsNotASize) {
  const auto config = ParseModelConfig(kSmallPeerageConfig);

  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->head_dim, 16);
  EXPECT_EQ(config->activation, Activation::kSilu);
  EXPECT_EQ(config->norm_type, NormType::kRmsNorm);
  EXPECT_EQ(config->norm_eps, 1e-5f);
  EXPECT_EQ(config->rope_theta, 10000.0f);
  EXPECT_FALSE(config->rope_interleaved);
  EXPECT_FALSE(config->tied_embeddings);
  EXPECT_FALSE(config->parallel_block);
  EXPECT_EQ(config->bos_id, std::nullopt);
  EXPECT_THAT(config->eos_ids, IsEmpty());
  EXPECT_EQ(config->layers[0].ffn[0].intermediate_size, 64);
}

TEST(PeerageConfigTest, ReadsEveryActivation) {
  const std::pair<const char*, Activation> kActivations[] = {{"silu", Activation::kSilu},
                                                             {"gelu", Activation::kGelu},
                                                             {"gelu_tanh", Activation::kGeluTanh},
                                                             {"relu", Activation::kRelu}};
  for (const auto& [name, activation] : kActivations) {
    json text = json::parse(kSmallPeerageConfig);
    text["hidden_act"] = name;
    const auto config = ParseModelConfig(text.dump());
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_EQ(config->activation, activation) << name;
  }
}

TEST(PeerageConfigTest, RefusesADuplicateKey) {
  const auto config = ParseModelConfig(R"({"model_type": "peerage", "model_type": "peerage"})");

  EXPECT_THAT(std::string(config.status().message()), HasSubstr("duplicate key \"model_type\""));
}

TEST(PeerageConfigTest, NeedsEverySize) {
  for (const char* key : {"format_version", "vocab_size", "hidden_size", "intermediate_size",
                          "num_hidden_layers", "num_attention_heads", "max_position_embeddings"}) {
    json text = json::parse(kSmallPeerageConfig);
    text.erase(key);
    const auto config = ParseModelConfig(text.dump());
    EXPECT_EQ(std::string(config.status().message()), std::string(key) + " is missing");
  }
}

struct BadConfig {
  const char* name;
  const char* patch;  // merged into the small config (RFC 7396)
  const char* error;
};

class BadPeerageConfigTest : public ::testing::TestWithParam<BadConfig> {};

TEST_P(BadPeerageConfigTest, IsRefusedByName) {
  json text = json::parse(kSmallPeerageConfig);
  text.update(json::parse(GetParam().patch));

  const auto config = ParseModelConfig(text.dump());

  ASSERT_FALSE(config.ok());
  EXPECT_THAT(std::string(config.status().message()), HasSubstr(GetParam().error));
}

INSTANTIATE_TEST_SUITE_P(
    Values, BadPeerageConfigTest,
    ::testing::Values(
        BadConfig{"UnknownKey", R"({"x": 1})", "x is not a known key"},
        BadConfig{"UnknownModelType", R"({"model_type": "gpt2"})",
                  "model_type \"gpt2\" is not supported by this build"},
        BadConfig{"ModelTypeANumber", R"({"model_type": 1})", "model_type is not a string"},
        BadConfig{"ModelTypeMissing", R"({"model_type": null})", "model_type is missing"},
        BadConfig{"Architectures", R"({"architectures": ["LlamaForCausalLM"]})", "architectures"},
        BadConfig{"FormatVersion0", R"({"format_version": 0})", "format_version is 0"},
        BadConfig{"FormatVersion2", R"({"format_version": 2})", "format_version is 2"},
        BadConfig{"NoVocab", R"({"vocab_size": 0})", "vocab_size is 0"},
        BadConfig{"NegativeVocab", R"({"vocab_size": -1})", "vocab_size is -1"},
        BadConfig{"HugeVocab", R"({"vocab_size": 18446744073709551615})", "vocab_size is 92"},
        BadConfig{"FloatVocab", R"({"vocab_size": 8.0})", "vocab_size is not an integer"},
        BadConfig{"StringVocab", R"({"vocab_size": "8"})", "vocab_size is not an integer"},
        BadConfig{"NoHidden", R"({"hidden_size": 0})", "hidden_size is 0"},
        BadConfig{"HugeHidden", R"({"hidden_size": 65537})", "hidden_size is 65537"},
        BadConfig{"NoLayers", R"({"num_hidden_layers": 0})", "num_hidden_layers is 0"},
        BadConfig{"TooManyLayers", R"({"num_hidden_layers": 1025})", "num_hidden_layers is 1025"},
        BadConfig{"NoHeads", R"({"num_attention_heads": 0})", "num_attention_heads is 0"},
        BadConfig{"TooManyHeads", R"({"num_attention_heads": 1025})", "num_attention_heads"},
        BadConfig{"NoKvHeads", R"({"num_key_value_heads": 0})", "num_key_value_heads is 0"},
        BadConfig{"KvHeadsAboveHeads", R"({"num_key_value_heads": 4})", "num_key_value_heads is 4"},
        BadConfig{"KvHeadsNotADivisor", R"({"num_attention_heads": 8, "num_key_value_heads": 3})",
                  "num_key_value_heads is 3, not a divisor of num_attention_heads 8"},
        BadConfig{"OddHeadDim", R"({"head_dim": 15})", "head_dim is 15, not an even number"},
        BadConfig{"NoHeadDim", R"({"head_dim": 0})", "head_dim is 0"},
        BadConfig{"HugeHeadDim", R"({"head_dim": 1026})", "head_dim is 1026"},
        BadConfig{"HeadDimNotWhole", R"({"num_attention_heads": 3, "num_key_value_heads": 3})",
                  "head_dim is missing"},
        BadConfig{"HeadDimTooLarge", R"({"hidden_size": 65536})", "head_dim is missing"},
        BadConfig{"NoIntermediate", R"({"intermediate_size": 0})", "intermediate_size is 0"},
        BadConfig{"HugeIntermediate", R"({"intermediate_size": 1048577})", "intermediate_size"},
        BadConfig{"Activation", R"({"hidden_act": "swish"})", "hidden_act is \"swish\""},
        BadConfig{"NormType", R"({"norm_type": "batchnorm"})", "norm_type is \"batchnorm\""},
        BadConfig{"ZeroEps", R"({"norm_eps": 0})", "norm_eps is 0"},
        BadConfig{"NegativeEps", R"({"norm_eps": -1e-5})", "norm_eps is -1e-05"},
        BadConfig{"HugeEps", R"({"norm_eps": 1.5})", "norm_eps is 1.5"},
        BadConfig{"TinyEps", R"({"norm_eps": 1e-60})", "norm_eps is 1e-60"},
        BadConfig{"StringEps", R"({"norm_eps": "1e-5"})", "norm_eps is not a number"},
        BadConfig{"ZeroTheta", R"({"rope_theta": 0.0})", "rope_theta is 0"},
        BadConfig{"NegativeTheta", R"({"rope_theta": -1})", "rope_theta is -1"},
        BadConfig{"HugeTheta", R"({"rope_theta": 1e300})", "rope_theta is 1e+300"},
        BadConfig{"Interleaved", R"({"rope_interleaved": 1})", "rope_interleaved is neither"},
        BadConfig{"NoPositions", R"({"max_position_embeddings": 0})",
                  "max_position_embeddings is 0"},
        BadConfig{"HugePositions", R"({"max_position_embeddings": 16777217})",
                  "max_position_embeddings is 16777217"},
        BadConfig{"Tied", R"({"tie_word_embeddings": "yes"})", "tie_word_embeddings is neither"},
        BadConfig{"Parallel", R"({"parallel_block": 0})", "parallel_block is neither"},
        BadConfig{"BosBeyondTheVocab", R"({"bos_token_id": 8})", "bos_token_id is 8"},
        BadConfig{"NegativeBos", R"({"bos_token_id": -1})", "bos_token_id is -1"},
        BadConfig{"EosBeyondTheVocab", R"({"eos_token_id": [2, 8]})", "eos_token_id has 8"},
        BadConfig{"EosAString", R"({"eos_token_id": ["2"]})", "eos_token_id is neither"}),
    [](const auto& test) { return test.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Layers, BadPeerageConfigTest,
    ::testing::Values(
        BadConfig{"MixtureAttention", R"({"attention": {"kind": "mixture"}})",
                  "attention.kind \"mixture\" is not supported by this build"},
        BadConfig{"UnknownAttention", R"({"attention": {"kind": "x"}})", "attention.kind is \"x\""},
        BadConfig{"AttentionWithoutKind", R"({"attention": {}})", "attention.kind is missing"},
        BadConfig{"AttentionNotAnObject", R"({"attention": "dense"})", "attention: is not a JSON"},
        BadConfig{"AttentionKey", R"({"attention": {"kind": "dense", "x": 1}})",
                  "attention.x is not a known key"},
        BadConfig{"FfnNotAList", R"({"ffn": {"kind": "dense"}})", "ffn is not a list"},
        BadConfig{"FfnEmpty", R"({"ffn": []})", "ffn is not a list with entries"},
        BadConfig{"FfnTwice", R"({"ffn": [{"kind": "dense"}, {"kind": "dense"}]})",
                  "ffn[1].kind is there twice"},
        BadConfig{"FfnMixture", R"({"ffn": [{"kind": "mixture", "num_experts": 4}]})",
                  "ffn[0].kind \"mixture\" is not supported by this build"},
        BadConfig{"FfnPkm", R"({"ffn": [{"kind": "pkm"}]})",
                  "ffn[0].kind \"pkm\" is not supported"},
        BadConfig{"FfnUnknown", R"({"ffn": [{"kind": "x"}]})", "ffn[0].kind is \"x\""},
        BadConfig{"FfnKey", R"({"ffn": [{"kind": "dense", "top_k": 1}]})", "ffn[0].top_k is not"},
        BadConfig{"FfnSize", R"({"ffn": [{"kind": "dense", "intermediate_size": 0}]})",
                  "ffn[0].intermediate_size is 0"},
        BadConfig{"PeerInALayer",
                  R"({"num_hidden_layers": 16,
                      "layers": {"15": {"ffn": [{"kind": "dense"}, {"kind": "peer"}]}}})",
                  "layers[15].ffn[1].kind \"peer\" is not supported by this build"},
        BadConfig{"LayersNotAnObject", R"({"layers": []})", "layers is not a JSON object"},
        BadConfig{"LayerBeyondTheLast", R"({"layers": {"1": {}}})", "layers has the key \"1\""},
        BadConfig{"LayerNegative", R"({"layers": {"-1": {}}})", "layers has the key \"-1\""},
        BadConfig{"LayerWithZeros", R"({"layers": {"00": {}}})", "layers has the key \"00\""},
        BadConfig{"LayerWithABlank", R"({"layers": {" 0": {}}})", "layers has the key \" 0\""},
        BadConfig{"LayerNotANumber", R"({"layers": {"x": {}}})", "layers has the key \"x\""},
        BadConfig{"LayerNotAnObject", R"({"layers": {"0": 1}})", "layers[0]: is not a JSON"},
        BadConfig{"LayerKey", R"({"layers": {"0": {"norm": 1}}})",
                  "layers[0].norm is not a known"}),
    [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace peerage
