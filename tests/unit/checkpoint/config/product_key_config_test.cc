#include "model/checkpoint/config/product_key_config.h"

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
using ::testing::HasSubstr;

constexpr char kPeer[] =
    R"({"kind": "peer", "num_experts": 65536, "heads": 8, "top_k": 16, "key_dim": 128})";
constexpr char kDirect[] =
    R"({"kind": "peer", "num_experts": 529, "heads": 1, "top_k": 8, "keys": "direct"})";

// The small model with one feed-forward entry: `base` with the fields of `patch` (RFC 7396).
absl::StatusOr<ModelConfig> ParseWith(const char* base, const char* patch) {
  json entry = json::parse(base);
  entry.merge_patch(json::parse(patch));
  json text = json::parse(kSmallPeerageConfig);
  text["ffn"] = json::array({entry});
  return ParseModelConfig(text.dump());
}

// The fields of a `peer` entry.
struct PeerFields : ProductKeyConfig {
  explicit PeerFields(const PeerConfig& peer)
      : ProductKeyConfig(peer.keys),
        activation(peer.activation),
        glu(peer.glu),
        norm(peer.norm),
        layout(peer.layout) {}

  Activation activation;
  bool glu;
  PeerNorm norm;
  PeerLayout layout;
};

PeerFields Parsed(const char* base, const char* patch) {
  const auto config = ParseWith(base, patch);
  EXPECT_TRUE(config.ok()) << config.status();
  const auto* peer = config.ok() ? std::get_if<PeerConfig>(&config->layers[0].ffn[0]) : nullptr;
  EXPECT_NE(peer, nullptr);
  return PeerFields(peer == nullptr ? PeerConfig() : *peer);
}

TEST(ProductKeyConfigTest, HasThePapersDefaults) {
  const PeerFields config = Parsed(kPeer, "{}");

  EXPECT_EQ(config.num_experts, 65536);
  EXPECT_EQ(config.num_sub_keys, 256);
  EXPECT_EQ(config.heads, 8);
  EXPECT_EQ(config.top_k, 16);
  EXPECT_EQ(config.key_dim, 128);
  EXPECT_EQ(config.keys, ProductKeys::kShared);
  EXPECT_FALSE(config.per_head_experts);
  EXPECT_FALSE(config.query_bias);
  EXPECT_EQ(config.query_norm, QueryNorm::kNone);
  EXPECT_EQ(config.query_norm_eps, 1e-5f);
  EXPECT_EQ(config.score, RouterScore::kSoftmax);
  EXPECT_EQ(config.layout, PeerLayout::kPeerage);
  EXPECT_EQ(config.activation, Activation::kGelu);
  EXPECT_FALSE(config.glu);
  EXPECT_EQ(config.norm, PeerNorm::kNone);
  EXPECT_EQ(config.table_rows(), 65536);
}

TEST(ProductKeyConfigTest, ReadsEveryField) {
  const PeerFields config = Parsed(kPeer, R"({
      "num_experts": 529, "heads": 3, "top_k": 128, "key_dim": 6, "keys": "per_head",
      "experts": "per_head", "query_bias": true, "query_norm": "layer", "query_norm_eps": 1e-3,
      "score": "sigmoid", "activation": "relu", "glu": true, "pre_rmsnorm": true,
      "layout": "peerage"})");

  EXPECT_EQ(config.num_experts, 529);
  EXPECT_EQ(config.num_sub_keys, 23);
  EXPECT_EQ(config.heads, 3);
  EXPECT_EQ(config.top_k, 128);
  EXPECT_EQ(config.key_dim, 6);
  EXPECT_EQ(config.keys, ProductKeys::kPerHead);
  EXPECT_TRUE(config.per_head_experts);
  EXPECT_TRUE(config.query_bias);
  EXPECT_EQ(config.query_norm, QueryNorm::kLayer);
  EXPECT_EQ(config.query_norm_eps, 1e-3f);
  EXPECT_EQ(config.score, RouterScore::kSigmoid);
  EXPECT_EQ(config.activation, Activation::kRelu);
  EXPECT_TRUE(config.glu);
  EXPECT_EQ(config.norm, PeerNorm::kRms);
  EXPECT_EQ(config.table_rows(), 3 * 529);
}

TEST(ProductKeyConfigTest, ReadsEveryChoice) {
  EXPECT_EQ(Parsed(kPeer, R"({"query_norm": "batch"})").query_norm, QueryNorm::kBatch);
  EXPECT_EQ(Parsed(kPeer, R"({"query_norm": "none"})").query_norm, QueryNorm::kNone);
  EXPECT_EQ(Parsed(kPeer, R"({"score": "softmax"})").score, RouterScore::kSoftmax);
  EXPECT_EQ(Parsed(kPeer, R"({"score": "relu"})").score, RouterScore::kRelu);
  EXPECT_EQ(Parsed(kPeer, R"({"score": "joint_softmax"})").score, RouterScore::kJointSoftmax);
  EXPECT_EQ(Parsed(kPeer, R"({"keys": "shared"})").keys, ProductKeys::kShared);
  EXPECT_EQ(Parsed(kPeer, R"({"activation": "silu"})").activation, Activation::kSilu);
  EXPECT_EQ(Parsed(kPeer, R"({"activation": "gelu_tanh"})").activation, Activation::kGeluTanh);
}

TEST(ProductKeyConfigTest, HasNoQueryWithDirectKeys) {
  const PeerFields config = Parsed(kDirect, R"({"query_bias": true})");

  EXPECT_EQ(config.keys, ProductKeys::kDirect);
  EXPECT_EQ(config.key_dim, 0);
  EXPECT_TRUE(config.query_bias);
}

TEST(ProductKeyConfigTest, TakesTheLargestTablesOf32BitIds) {
  EXPECT_EQ(Parsed(kPeer, R"({"num_experts": 4294836225})").num_sub_keys, 65535);
  EXPECT_EQ(Parsed(kPeer, R"({"num_experts": 134212225, "heads": 32, "experts": "per_head"})")
                .table_rows(),
            4294791200);
  EXPECT_EQ(Parsed(kPeer, R"({"num_experts": 4, "top_k": 4})").num_sub_keys, 2);
}

TEST(ProductKeyConfigTest, KnowsWhatEachLayoutFixes) {
  constexpr char kPerHead[] = R"({"layout": "lucidrains", "keys": "per_head",
                                  "experts": "per_head", "pre_rmsnorm": true})";
  EXPECT_EQ(Parsed(kPeer, kPerHead).layout, PeerLayout::kLucidrains);
  EXPECT_EQ(Parsed(kPeer, kPerHead).norm, PeerNorm::kL2);
  EXPECT_EQ(
      Parsed(kPeer, R"({"layout": "meta_memory", "keys": "per_head", "query_bias": true})").layout,
      PeerLayout::kMetaMemory);
  EXPECT_EQ(Parsed(kPeer, R"({"layout": "ostix360", "keys": "per_head", "query_bias": true,
                              "query_norm": "batch", "glu": true})")
                .layout,
            PeerLayout::kOstix360);
  EXPECT_EQ(Parsed(kDirect, R"({"layout": "doge"})").layout, PeerLayout::kDoge);
  EXPECT_EQ(Parsed(kDirect, R"({"layout": "omnimoe", "query_bias": true})").layout,
            PeerLayout::kOmniMoe);
}

TEST(ProductKeyConfigTest, SumsPartsOfDifferentKinds) {
  json text = json::parse(kSmallPeerageConfig);
  text["ffn"] = json::array({{{"kind", "dense"}}, json::parse(kPeer), json::parse(kPeer)});
  text["ffn"][2]["kind"] = "pkm";

  const auto config = ParseModelConfig(text.dump());

  ASSERT_TRUE(config.ok()) << config.status();
  ASSERT_EQ(config->layers[0].ffn.size(), 3u);
  const std::vector<FfnConfig>& ffn = config->layers[0].ffn;
  EXPECT_TRUE(std::holds_alternative<DenseFfnConfig>(ffn[0]));
  EXPECT_TRUE(std::holds_alternative<PeerConfig>(ffn[1]));
  EXPECT_TRUE(std::holds_alternative<ProductKeyMemoryConfig>(ffn[2]));

  text["ffn"][2]["kind"] = "peer";
  EXPECT_THAT(std::string(ParseModelConfig(text.dump()).status().message()),
              HasSubstr("ffn[2].kind is there twice"));
}

struct BadEntry {
  const char* name;
  const char* base;
  const char* patch;
  const char* error;
};

class BadProductKeyConfigTest : public ::testing::TestWithParam<BadEntry> {};

TEST_P(BadProductKeyConfigTest, IsRefusedByName) {
  const auto config = ParseWith(GetParam().base, GetParam().patch);

  ASSERT_FALSE(config.ok());
  EXPECT_THAT(std::string(config.status().message()), HasSubstr(GetParam().error));
}

INSTANTIATE_TEST_SUITE_P(
    Values, BadProductKeyConfigTest,
    ::testing::Values(
        BadEntry{"NoExperts", kPeer, R"({"num_experts": null})", "ffn[0].num_experts is missing"},
        BadEntry{"NoHeads", kPeer, R"({"heads": null})", "ffn[0].heads is missing"},
        BadEntry{"NoTopK", kPeer, R"({"top_k": null})", "ffn[0].top_k is missing"},
        BadEntry{"NoKeyDim", kPeer, R"({"key_dim": null})", "ffn[0].key_dim is missing"},
        BadEntry{"NotASquare", kPeer, R"({"num_experts": 65535})",
                 "ffn[0].num_experts is 65535, not a square number"},
        BadEntry{"OneExpert", kPeer, R"({"num_experts": 1})", "num_experts is 1, not within 4.."},
        BadEntry{"TooManyExperts", kPeer, R"({"num_experts": 4294967296})",
                 "num_experts is 4294967296, not within 4..4294836225"},
        BadEntry{"TooManyInAll", kPeer,
                 R"({"num_experts": 134235396, "heads": 32, "experts": "per_head"})",
                 "num_experts is 134235396 for each of 32 heads, more than 2^32 - 1 in all"},
        BadEntry{"FractionOfAnExpert", kPeer, R"({"num_experts": 4.0})",
                 "num_experts is not an integer"},
        BadEntry{"ZeroHeads", kPeer, R"({"heads": 0})", "heads is 0, not within 1..32"},
        BadEntry{"TooManyHeads", kPeer, R"({"heads": 33})", "heads is 33, not within 1..32"},
        BadEntry{"ZeroTopK", kPeer, R"({"top_k": 0})", "top_k is 0, not within 1..128"},
        BadEntry{"LargeTopK", kPeer, R"({"top_k": 129})", "top_k is 129, not within 1..128"},
        BadEntry{"TopKAboveExperts", kPeer, R"({"num_experts": 9, "top_k": 10})",
                 "top_k is 10, more than num_experts 9"},
        BadEntry{"OddKeyDim", kPeer, R"({"key_dim": 127})", "key_dim is 127, not an even number"},
        BadEntry{"ZeroKeyDim", kPeer, R"({"key_dim": 0})", "key_dim is 0, not within 2..2048"},
        BadEntry{"LargeKeyDim", kPeer, R"({"key_dim": 2050})", "key_dim is 2050"},
        BadEntry{"Keys", kPeer, R"({"keys": "x"})",
                 "ffn[0].keys is \"x\", not shared, per_head or direct"},
        BadEntry{"Experts", kPeer, R"({"experts": "direct"})",
                 "experts is \"direct\", not shared or per_head"},
        BadEntry{"QueryBias", kPeer, R"({"query_bias": 1})", "query_bias is neither"},
        BadEntry{"QueryNorm", kPeer, R"({"query_norm": "rms"})",
                 "query_norm is \"rms\", not none, batch or layer"},
        BadEntry{"QueryNormEps", kPeer, R"({"query_norm_eps": 0})", "query_norm_eps is 0"},
        BadEntry{"Score", kPeer, R"({"score": "top1"})",
                 "score is \"top1\", not softmax, sigmoid, relu or joint_softmax"},
        BadEntry{"Activation", kPeer, R"({"activation": "swish"})", "activation is \"swish\""},
        BadEntry{"Glu", kPeer, R"({"glu": "yes"})", "glu is neither"},
        BadEntry{"PreRmsnorm", kPeer, R"({"pre_rmsnorm": 0})", "pre_rmsnorm is neither"},
        BadEntry{"Layout", kPeer, R"({"layout": "torch"})",
                 "layout is \"torch\", not peerage, lucidrains, meta_memory, ostix360, doge or"},
        BadEntry{"UnknownKey", kPeer, R"({"dropout": 0})", "ffn[0].dropout is not a known key"},
        BadEntry{"DirectWithKeyDim", kDirect, R"({"key_dim": 128})",
                 "key_dim is there, but direct keys have no query"},
        BadEntry{"DirectWithNorm", kDirect, R"({"query_norm": "layer"})",
                 "query_norm must be none with direct keys"}),
    [](const auto& test) { return test.param.name; });

INSTANTIATE_TEST_SUITE_P(
    ProductKeyMemory, BadProductKeyConfigTest,
    ::testing::Values(BadEntry{"Activation", kPeer, R"({"kind": "pkm", "activation": "gelu"})",
                               "ffn[0].activation is not a known key"},
                      BadEntry{"Glu", kPeer, R"({"kind": "pkm", "glu": false})",
                               "ffn[0].glu is not"},
                      BadEntry{"PreRmsnorm", kPeer, R"({"kind": "pkm", "pre_rmsnorm": false})",
                               "ffn[0].pre_rmsnorm is not"},
                      BadEntry{"Layout", kPeer, R"({"kind": "pkm", "layout": "peerage"})",
                               "ffn[0].layout is not"}),
    [](const auto& test) { return test.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Layouts, BadProductKeyConfigTest,
    ::testing::Values(
        BadEntry{"LucidrainsSharedKeys", kPeer, R"({"layout": "lucidrains"})",
                 "ffn[0].keys must be per_head with layout lucidrains"},
        BadEntry{"LucidrainsBias", kPeer,
                 R"({"layout": "lucidrains", "keys": "per_head", "query_bias": true})",
                 "query_bias must be false with layout lucidrains"},
        BadEntry{"LucidrainsGlu", kPeer,
                 R"({"layout": "lucidrains", "keys": "per_head", "glu": true})",
                 "glu must be false with layout lucidrains"},
        BadEntry{"MetaMemoryWithoutBias", kPeer, R"({"layout": "meta_memory", "keys": "per_head"})",
                 "query_bias must be true with layout meta_memory"},
        BadEntry{"MetaMemoryPreRmsnorm", kPeer,
                 R"({"layout": "meta_memory", "keys": "per_head", "query_bias": true,
                     "pre_rmsnorm": true})",
                 "pre_rmsnorm must be false with layout meta_memory"},
        BadEntry{"Ostix360WithoutBatchNorm", kPeer,
                 R"({"layout": "ostix360", "keys": "per_head", "query_bias": true})",
                 "query_norm must be batch with layout ostix360"},
        BadEntry{"Ostix360PerHeadExperts", kPeer,
                 R"({"layout": "ostix360", "keys": "per_head", "query_bias": true,
                     "query_norm": "batch", "experts": "per_head"})",
                 "experts must be shared with layout ostix360"},
        BadEntry{"DogeWithKeys", kPeer, R"({"layout": "doge", "heads": 1})",
                 "keys must be direct with layout doge"},
        BadEntry{"DogeWithHeads", kDirect, R"({"layout": "doge", "heads": 2})",
                 "heads must be 1 with layout doge"},
        BadEntry{"DogeWithBias", kDirect, R"({"layout": "doge", "query_bias": true})",
                 "query_bias must be false with layout doge"},
        BadEntry{"OmniMoeWithoutBias", kDirect, R"({"layout": "omnimoe"})",
                 "query_bias must be true with layout omnimoe"}),
    [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace peerage
