#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

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
  EXPECT_EQ(std::get<DenseFfnConfig>(config->layers[3].ffn[0]).intermediate_size, 768);
  EXPECT_EQ(std::get<DenseFfnConfig>(config->layers[14].ffn[0]).intermediate_size, 768);
  EXPECT_EQ(std::get<DenseFfnConfig>(config->layers[15].ffn[0]).intermediate_size, 1536);
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
  EXPECT_EQ(std::get<DenseFfnConfig>(config->layers[0].ffn[0]).intermediate_size, 64);
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

struct BadPeerageConfig {
  const char* name;
  const char* patch;  // merged into the small config (RFC 7396)
  const char* error;
};

class BadPeerageConfigTest : public ::testing::TestWithParam<BadPeerageConfig> {};

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
        BadPeerageConfig{"UnknownKey", R"({"x": 1})", "x is not a known key"},
        BadPeerageConfig{"UnknownModelType", R"({"model_type": "gpt2"})",
                         "model_type is \"gpt2\", which is not supported (\"peerage\""},
        BadPeerageConfig{"ModelTypeANumber", R"({"model_type": 1})", "model_type is not a string"},
        BadPeerageConfig{"ModelTypeMissing", R"({"model_type": null})", "model_type is missing"},
        BadPeerageConfig{"Architectures", R"({"architectures": ["LlamaForCausalLM"]})",
                         "architectures"},
        BadPeerageConfig{"FormatVersion0", R"({"format_version": 0})", "format_version is 0"},
        BadPeerageConfig{"FormatVersion2", R"({"format_version": 2})", "format_version is 2"},
        BadPeerageConfig{"NoVocab", R"({"vocab_size": 0})", "vocab_size is 0"},
        BadPeerageConfig{"NegativeVocab", R"({"vocab_size": -1})", "vocab_size is -1"},
        BadPeerageConfig{"HugeVocab", R"({"vocab_size": 18446744073709551615})",
                         "vocab_size is 92"},
        BadPeerageConfig{"FloatVocab", R"({"vocab_size": 8.0})", "vocab_size is not an integer"},
        BadPeerageConfig{"StringVocab", R"({"vocab_size": "8"})", "vocab_size is not an integer"},
        BadPeerageConfig{"NoHidden", R"({"hidden_size": 0})", "hidden_size is 0"},
        BadPeerageConfig{"HugeHidden", R"({"hidden_size": 65537})", "hidden_size is 65537"},
        BadPeerageConfig{"NoLayers", R"({"num_hidden_layers": 0})", "num_hidden_layers is 0"},
        BadPeerageConfig{"TooManyLayers", R"({"num_hidden_layers": 1025})",
                         "num_hidden_layers is 1025"},
        BadPeerageConfig{"NoHeads", R"({"num_attention_heads": 0})", "num_attention_heads is 0"},
        BadPeerageConfig{"TooManyHeads", R"({"num_attention_heads": 1025})", "num_attention_heads"},
        BadPeerageConfig{"NoKvHeads", R"({"num_key_value_heads": 0})", "num_key_value_heads is 0"},
        BadPeerageConfig{"KvHeadsAboveHeads", R"({"num_key_value_heads": 4})",
                         "num_key_value_heads is 4"},
        BadPeerageConfig{"KvHeadsNotADivisor",
                         R"({"num_attention_heads": 8, "num_key_value_heads": 3})",
                         "num_key_value_heads is 3, not a divisor of num_attention_heads 8"},
        BadPeerageConfig{"OddHeadDim", R"({"head_dim": 15})", "head_dim is 15, not an even number"},
        BadPeerageConfig{"NoHeadDim", R"({"head_dim": 0})", "head_dim is 0"},
        BadPeerageConfig{"HugeHeadDim", R"({"head_dim": 1026})", "head_dim is 1026"},
        BadPeerageConfig{"HeadDimNotWhole",
                         R"({"num_attention_heads": 3, "num_key_value_heads": 3})",
                         "head_dim is missing"},
        BadPeerageConfig{"HeadDimTooLarge", R"({"hidden_size": 65536})", "head_dim is missing"},
        BadPeerageConfig{"NoIntermediate", R"({"intermediate_size": 0})", "intermediate_size is 0"},
        BadPeerageConfig{"HugeIntermediate", R"({"intermediate_size": 1048577})",
                         "intermediate_size"},
        BadPeerageConfig{"Activation", R"({"hidden_act": "swish"})", "hidden_act is \"swish\""},
        BadPeerageConfig{"NormType", R"({"norm_type": "batchnorm"})", "norm_type is \"batchnorm\""},
        BadPeerageConfig{"ZeroEps", R"({"norm_eps": 0})", "norm_eps is 0"},
        BadPeerageConfig{"NegativeEps", R"({"norm_eps": -1e-5})", "norm_eps is -1e-05"},
        BadPeerageConfig{"HugeEps", R"({"norm_eps": 1.5})", "norm_eps is 1.5"},
        BadPeerageConfig{"TinyEps", R"({"norm_eps": 1e-60})", "norm_eps is 1e-60"},
        BadPeerageConfig{"StringEps", R"({"norm_eps": "1e-5"})", "norm_eps is not a number"},
        BadPeerageConfig{"ZeroTheta", R"({"rope_theta": 0.0})", "rope_theta is 0"},
        BadPeerageConfig{"NegativeTheta", R"({"rope_theta": -1})", "rope_theta is -1"},
        BadPeerageConfig{"HugeTheta", R"({"rope_theta": 1e300})", "rope_theta is 1e+300"},
        BadPeerageConfig{"Interleaved", R"({"rope_interleaved": 1})",
                         "rope_interleaved is neither"},
        BadPeerageConfig{"NoPositions", R"({"max_position_embeddings": 0})",
                         "max_position_embeddings is 0"},
        BadPeerageConfig{"HugePositions", R"({"max_position_embeddings": 16777217})",
                         "max_position_embeddings is 16777217"},
        BadPeerageConfig{"Tied", R"({"tie_word_embeddings": "yes"})",
                         "tie_word_embeddings is neither"},
        BadPeerageConfig{"Parallel", R"({"parallel_block": 0})", "parallel_block is neither"},
        BadPeerageConfig{"BosBeyondTheVocab", R"({"bos_token_id": 8})", "bos_token_id is 8"},
        BadPeerageConfig{"NegativeBos", R"({"bos_token_id": -1})", "bos_token_id is -1"},
        BadPeerageConfig{"EosBeyondTheVocab", R"({"eos_token_id": [2, 8]})", "eos_token_id has 8"},
        BadPeerageConfig{"EosAString", R"({"eos_token_id": ["2"]})", "eos_token_id is neither"}),
    [](const auto& test) { return test.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Layers, BadPeerageConfigTest,
    ::testing::Values(
        BadPeerageConfig{"UnknownAttention", R"({"attention": {"kind": "x"}})",
                         "attention.kind is \"x\""},
        BadPeerageConfig{"AttentionWithoutKind", R"({"attention": {}})",
                         "attention.kind is missing"},
        BadPeerageConfig{"AttentionNotAnObject", R"({"attention": "dense"})",
                         "attention: is not a JSON"},
        BadPeerageConfig{"AttentionKey", R"({"attention": {"kind": "dense", "x": 1}})",
                         "attention.x is not a known key"},
        BadPeerageConfig{"FfnNotAList", R"({"ffn": {"kind": "dense"}})", "ffn is not a list"},
        BadPeerageConfig{"FfnEmpty", R"({"ffn": []})", "ffn is not a list with entries"},
        BadPeerageConfig{"FfnTwice", R"({"ffn": [{"kind": "dense"}, {"kind": "dense"}]})",
                         "ffn[1].kind is there twice"},
        BadPeerageConfig{"FfnUnknown", R"({"ffn": [{"kind": "x"}]})", "ffn[0].kind is \"x\""},
        BadPeerageConfig{"FfnKey", R"({"ffn": [{"kind": "dense", "top_k": 1}]})",
                         "ffn[0].top_k is not"},
        BadPeerageConfig{"FfnSize", R"({"ffn": [{"kind": "dense", "intermediate_size": 0}]})",
                         "ffn[0].intermediate_size is 0"},
        BadPeerageConfig{"PeerInALayer",
                         R"({"num_hidden_layers": 16,
                      "layers": {"15": {"ffn": [{"kind": "dense"}, {"kind": "peer"}]}}})",
                         "layers[15].ffn[1].num_experts is missing"},
        BadPeerageConfig{"LayersNotAnObject", R"({"layers": []})", "layers is not a JSON object"},
        BadPeerageConfig{"LayerBeyondTheLast", R"({"layers": {"1": {}}})",
                         "layers has the key \"1\""},
        BadPeerageConfig{"LayerNegative", R"({"layers": {"-1": {}}})", "layers has the key \"-1\""},
        BadPeerageConfig{"LayerWithZeros", R"({"layers": {"00": {}}})",
                         "layers has the key \"00\""},
        BadPeerageConfig{"LayerWithABlank", R"({"layers": {" 0": {}}})",
                         "layers has the key \" 0\""},
        BadPeerageConfig{"LayerNotANumber", R"({"layers": {"x": {}}})", "layers has the key \"x\""},
        BadPeerageConfig{"LayerNotAnObject", R"({"layers": {"0": 1}})", "layers[0]: is not a JSON"},
        BadPeerageConfig{"LayerKey", R"({"layers": {"0": {"norm": 1}}})",
                         "layers[0].norm is not a known"}),
    [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace peerage
