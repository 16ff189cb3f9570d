#include "model/checkpoint/config/mixture_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "model/checkpoint/config/parse_model_config.h"
#include "model/checkpoint/layout/tensor_layout.h"
#include "model/config/model_config.h"
#include "tests/support/small_models.h"

namespace peerage {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kSoft[] =
    R"({"kind": "mixture", "num_experts": 4, "kv": "expert", "routing": "soft"})";
constexpr char kTopK[] =
    R"({"kind": "mixture", "num_experts": 4, "kv": "shared", "routing": "top_k", "top_k": 2})";
constexpr char kFfn[] = R"({"kind": "mixture", "num_experts": 4})";

// The small model with one value changed: `base` with the fields of `patch` (RFC 7396).
absl::StatusOr<ModelConfig> ParseWithAttention(const char* base, const char* patch) {
  json text = json::parse(kSmallPeerageConfig);
  text["attention"] = json::parse(base);
  text["attention"].merge_patch(json::parse(patch));
  return ParseModelConfig(text.dump());
}

absl::StatusOr<ModelConfig> ParseWithFfn(const char* base, const char* patch) {
  json entry = json::parse(base);
  entry.merge_patch(json::parse(patch));
  json text = json::parse(kSmallPeerageConfig);
  text["ffn"] = json::array({entry});
  return ParseModelConfig(text.dump());
}

AttentionConfig AttentionOf(const char* base, const char* patch) {
  const auto config = ParseWithAttention(base, patch);
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? config->layers[0].attention : AttentionConfig();
}

MixtureFfnConfig FfnOf(const char* base, const char* patch) {
  const auto config = ParseWithFfn(base, patch);
  EXPECT_TRUE(config.ok()) << config.status();
  const auto* ffn =
      config.ok() ? std::get_if<MixtureFfnConfig>(&config->layers[0].ffn[0]) : nullptr;
  EXPECT_NE(ffn, nullptr);
  return ffn == nullptr ? MixtureFfnConfig() : *ffn;
}

TEST(MixtureConfigTest, KeepsAllAttentionExpertsWithSoftRouting) {
  const AttentionConfig attention = AttentionOf(kSoft, "{}");

  EXPECT_EQ(attention.kind, AttentionKind::kMixture);
  EXPECT_EQ(attention.kv, MixtureKv::kExpert);
  EXPECT_EQ(attention.mixture.num_experts, 4);
  EXPECT_EQ(attention.mixture.top_k, 4);
  EXPECT_FALSE(attention.mixture.normalize_top_k);
  EXPECT_THAT(attention.mixture.expert_names, IsEmpty());
}

TEST(MixtureConfigTest, ReadsEveryFieldOfAttention) {
  const AttentionConfig attention = AttentionOf(
      kTopK, R"({"normalize_top_k": true, "expert_names": ["base", "code", "law", "maths"]})");

  EXPECT_EQ(attention.kv, MixtureKv::kShared);
  EXPECT_EQ(attention.mixture.top_k, 2);
  EXPECT_TRUE(attention.mixture.normalize_top_k);
  EXPECT_THAT(attention.mixture.expert_names, ElementsAre("base", "code", "law", "maths"));
  EXPECT_FALSE(AttentionOf(kTopK, "{}").mixture.normalize_top_k);
}

TEST(MixtureConfigTest, HasThePapersDefaultsForFfns) {
  const MixtureFfnConfig ffn = FfnOf(kFfn, "{}");

  EXPECT_EQ(ffn.intermediate_size, 64);
  EXPECT_EQ(ffn.mixture.num_experts, 4);
  EXPECT_EQ(ffn.mixture.top_k, 1);
  EXPECT_FALSE(ffn.mixture.normalize_top_k);
  EXPECT_THAT(ffn.mixture.expert_names, IsEmpty());
}

TEST(MixtureConfigTest, ReadsEveryFieldOfAnFfn) {
  const MixtureFfnConfig ffn =
      FfnOf(kFfn, R"({"num_experts": 2, "top_k": 2, "normalize_top_k": true,
                                        "intermediate_size": 48, "expert_names": ["a", "b"]})");

  EXPECT_EQ(ffn.intermediate_size, 48);
  EXPECT_EQ(ffn.mixture.num_experts, 2);
  EXPECT_EQ(ffn.mixture.top_k, 2);
  EXPECT_TRUE(ffn.mixture.normalize_top_k);
  EXPECT_THAT(ffn.mixture.expert_names, ElementsAre("a", "b"));
}

TEST(MixtureConfigTest, TakesOneExpertAndTheMost) {
  EXPECT_EQ(FfnOf(kFfn, R"({"num_experts": 1})").mixture.num_experts, 1);
  EXPECT_EQ(FfnOf(kFfn, R"({"num_experts": 256, "top_k": 256})").mixture.top_k, 256);
  EXPECT_EQ(AttentionOf(kSoft, R"({"num_experts": 1})").mixture.top_k, 1);
  EXPECT_EQ(AttentionOf(kSoft, R"({"num_experts": 256})").mixture.top_k, 256);
}

TEST(MixtureConfigTest, HasNoCheapExpertsByDefault) {
  const MixtureFfnConfig ffn = FfnOf(kFfn, "{}");

  EXPECT_EQ(ffn.zero_experts + ffn.copy_experts + ffn.constant_experts, 0);
  EXPECT_FALSE(ffn.gating_residual);
  EXPECT_EQ(ffn.total_experts(), 4);
}

TEST(MixtureConfigTest, ReadsTheExpertsOfMoePlusPlus) {
  const MixtureFfnConfig ffn = FfnOf(kFfn, R"({"zero_experts": 1, "copy_experts": 2,
      "constant_experts": 3, "gating_residual": true, "top_k": 10})");

  EXPECT_EQ(ffn.mixture.num_experts, 4);
  EXPECT_EQ(ffn.zero_experts, 1);
  EXPECT_EQ(ffn.copy_experts, 2);
  EXPECT_EQ(ffn.constant_experts, 3);
  EXPECT_EQ(ffn.total_experts(), 10);
  EXPECT_EQ(ffn.mixture.top_k, 10);
  EXPECT_TRUE(ffn.gating_residual);
  EXPECT_EQ(FfnOf(kFfn, R"({"num_experts": 1, "zero_experts": 255})").total_experts(), 256);
  EXPECT_THAT(FfnOf(kFfn, R"({"expert_names": ["a", "zero", "zeroes", "copy-x"],
                              "constant_experts": 1})")
                  .mixture.expert_names,
              ElementsAre("a", "zero", "zeroes", "copy-x"));
}

TEST(MixtureConfigTest, RefusesGatingResidualsBetweenDifferentNumbersOfExperts) {
  json text = json::parse(kSmallPeerageConfig);
  text["num_hidden_layers"] = 3;
  json ffn = json::parse(kFfn);
  ffn["gating_residual"] = true;
  text["ffn"] = json::array({ffn});
  ffn["copy_experts"] = 1;
  text["layers"]["2"]["ffn"] = json::array({ffn});

  EXPECT_EQ(ParseModelConfig(text.dump()).status().message(),
            "layers[2] has gating_residual and 5 experts, an earlier layer with gating_residual "
            "has 4");
  text["layers"]["2"]["ffn"][0]["gating_residual"] = false;
  EXPECT_TRUE(ParseModelConfig(text.dump()).ok());
}

TEST(MixtureConfigTest, LayersMayDiffer) {
  json text = json::parse(kSmallPeerageConfig);
  text["num_hidden_layers"] = 3;
  text["attention"] = json::parse(kSoft);
  text["layers"]["1"]["attention"] = {{"kind", "dense"}};
  text["layers"]["2"]["attention"] = json::parse(kTopK);
  text["layers"]["2"]["ffn"] = json::array({{{"kind", "dense"}}, json::parse(kFfn)});

  const auto config = ParseModelConfig(text.dump());

  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->layers[0].attention.kv, MixtureKv::kExpert);
  EXPECT_EQ(config->layers[1].attention.kind, AttentionKind::kDense);
  EXPECT_EQ(config->layers[2].attention.kv, MixtureKv::kShared);
  EXPECT_EQ(config->layers[1].ffn.size(), 1u);
  ASSERT_EQ(config->layers[2].ffn.size(), 2u);
  EXPECT_TRUE(std::holds_alternative<MixtureFfnConfig>(config->layers[2].ffn[1]));
}

std::vector<NamedShape> TensorsOf(const ModelConfig& config) {
  std::vector<NamedShape> tensors;
  for (const TensorSpec& spec : TensorLayout(config, TensorNaming::kPeerage)) {
    EXPECT_EQ(spec.parts[0].name, spec.name);
    EXPECT_EQ(spec.parts[0].shape, spec.shape);
    EXPECT_EQ(spec.role == TensorRole::kRouter, spec.name.find("router") != std::string::npos);
    if (spec.role != TensorRole::kNorm) tensors.push_back({spec.name, spec.shape});
  }
  tensors.erase(tensors.begin());  // embedding
  tensors.pop_back();              // head
  return tensors;
}

std::vector<std::string> Listed(const std::vector<NamedShape>& tensors) {
  std::vector<std::string> texts;
  for (const auto& [name, shape] : tensors) {
    EXPECT_EQ(name.rfind("model.layers.0.", 0), 0u);
    texts.push_back(name.substr(15) + " " + std::to_string(shape[0]) + " " +
                    std::to_string(shape[1]));
  }
  return texts;
}

TEST(MixtureTensorsTest, AttentionExpertsHaveKeysAndValuesOfTheirOwn) {
  const auto config = ParseWithAttention(kSoft, R"({"num_experts": 2})");
  ASSERT_TRUE(config.ok()) << config.status();
  std::vector<std::string> names = Listed(TensorsOf(*config));
  names.resize(names.size() - 3);  // the dense FFN
  EXPECT_THAT(
      names,
      ElementsAre(
          "attention.router.weight 2 32", "attention.experts.0.q_proj.weight 32 32",
          "attention.experts.0.k_proj.weight 16 32", "attention.experts.0.v_proj.weight 16 32",
          "attention.experts.0.o_proj.weight 32 32", "attention.experts.1.q_proj.weight 32 32",
          "attention.experts.1.k_proj.weight 16 32", "attention.experts.1.v_proj.weight 16 32",
          "attention.experts.1.o_proj.weight 32 32"));
}

TEST(MixtureTensorsTest, SharedKeysAndValuesAreThereOnce) {
  const auto config = ParseWithAttention(kTopK, R"({"num_experts": 2})");
  ASSERT_TRUE(config.ok()) << config.status();
  std::vector<std::string> names = Listed(TensorsOf(*config));
  names.resize(names.size() - 3);
  EXPECT_THAT(
      names, ElementsAre("attention.router.weight 2 32", "attention.experts.0.q_proj.weight 32 32",
                         "attention.experts.0.o_proj.weight 32 32",
                         "attention.experts.1.q_proj.weight 32 32",
                         "attention.experts.1.o_proj.weight 32 32", "attention.k_proj.weight 16 32",
                         "attention.v_proj.weight 16 32"));
}

TEST(MixtureTensorsTest, FfnExpertsAreDenseFfns) {
  const auto config = ParseWithFfn(kFfn, R"({"num_experts": 2, "intermediate_size": 48})");
  ASSERT_TRUE(config.ok()) << config.status();
  std::vector<std::string> names = Listed(TensorsOf(*config));
  names.erase(names.begin(), names.begin() + 4);  // dense attention
  EXPECT_THAT(names, ElementsAre("ffn.mixture.router.weight 2 32",
                                 "ffn.mixture.experts.0.gate_proj.weight 48 32",
                                 "ffn.mixture.experts.0.up_proj.weight 48 32",
                                 "ffn.mixture.experts.0.down_proj.weight 32 48",
                                 "ffn.mixture.experts.1.gate_proj.weight 48 32",
                                 "ffn.mixture.experts.1.up_proj.weight 48 32",
                                 "ffn.mixture.experts.1.down_proj.weight 32 48"));
}

struct BadMixture {
  const char* name;
  const char* base;
  const char* patch;
  const char* error;
};

class BadMixtureAttentionTest : public ::testing::TestWithParam<BadMixture> {};

TEST_P(BadMixtureAttentionTest, IsRefusedByName) {
  const auto config = ParseWithAttention(GetParam().base, GetParam().patch);

  ASSERT_FALSE(config.ok());
  EXPECT_THAT(std::string(config.status().message()), HasSubstr(GetParam().error));
}

INSTANTIATE_TEST_SUITE_P(
    All, BadMixtureAttentionTest,
    ::testing::Values(
        BadMixture{"Kind", kSoft, R"({"kind": "moa"})",
                   "attention.kind is \"moa\", not dense or mixture"},
        BadMixture{"NoExperts", kSoft, R"({"num_experts": null})",
                   "attention.num_experts is missing"},
        BadMixture{"ZeroExperts", kSoft, R"({"num_experts": 0})",
                   "attention.num_experts is 0, not within 1..256"},
        BadMixture{"TooManyExperts", kSoft, R"({"num_experts": 257})",
                   "num_experts is 257, not within 1..256"},
        BadMixture{"NoKv", kSoft, R"({"kv": null})", "attention.kv is missing"},
        BadMixture{"Kv", kSoft, R"({"kv": "none"})",
                   "attention.kv is \"none\", not expert or shared"},
        BadMixture{"NoRouting", kSoft, R"({"routing": null})", "attention.routing is missing"},
        BadMixture{"Routing", kSoft, R"({"routing": "top1"})",
                   "attention.routing is \"top1\", not soft or top_k"},
        BadMixture{"NoTopK", kTopK, R"({"top_k": null})", "attention.top_k is missing"},
        BadMixture{"ZeroTopK", kTopK, R"({"top_k": 0})", "attention.top_k is 0, not within 1..4"},
        BadMixture{"LargeTopK", kTopK, R"({"top_k": 5})", "attention.top_k is 5, not within 1..4"},
        BadMixture{"Normalize", kTopK, R"({"normalize_top_k": 1})",
                   "attention.normalize_top_k is neither"},
        BadMixture{"SoftWithTopK", kSoft, R"({"top_k": 2})",
                   "attention.top_k is there, but soft routing keeps all experts"},
        BadMixture{"SoftNormalized", kSoft, R"({"normalize_top_k": false})",
                   "attention.normalize_top_k is there, but soft routing keeps all experts"},
        BadMixture{"DenseWithExperts", R"({"kind": "dense"})", R"({"num_experts": 2})",
                   "attention.num_experts is not a known key"},
        BadMixture{"UnknownKey", kSoft, R"({"temperature": 1})",
                   "attention.temperature is not a known key"},
        BadMixture{"NamesNoList", kSoft, R"({"expert_names": "base"})",
                   "attention.expert_names is not a list of 4 names"},
        BadMixture{"TooFewNames", kSoft, R"({"expert_names": ["a", "b", "c"]})",
                   "attention.expert_names is not a list of 4 names"},
        BadMixture{"NameTwice", kSoft, R"({"expert_names": ["a", "b", "c", "a"]})",
                   "expert_names holds \"a\" twice"},
        BadMixture{"EmptyName", kSoft, R"({"expert_names": ["a", "b", "c", ""]})",
                   "expert_names holds a name that is not 1 to 128 bytes"},
        BadMixture{"NumberAsName", kSoft, R"({"expert_names": ["a", "b", "c", 1]})",
                   "expert_names holds a name that is not 1 to 128 bytes"}),
    [](const auto& test) { return test.param.name; });

class BadMixtureFfnTest : public ::testing::TestWithParam<BadMixture> {};

TEST_P(BadMixtureFfnTest, IsRefusedByName) {
  const auto config = ParseWithFfn(GetParam().base, GetParam().patch);

  ASSERT_FALSE(config.ok());
  EXPECT_THAT(std::string(config.status().message()), HasSubstr(GetParam().error));
}

INSTANTIATE_TEST_SUITE_P(
    All, BadMixtureFfnTest,
    ::testing::Values(
        BadMixture{"Kind", kFfn, R"({"kind": "moe"})",
                   "ffn[0].kind is \"moe\", not dense, mixture, peer or pkm"},
        BadMixture{"NoExperts", kFfn, R"({"num_experts": null})", "ffn[0].num_experts is missing"},
        BadMixture{"TooManyExperts", kFfn, R"({"num_experts": 257})",
                   "ffn[0].num_experts is 257, not within 1..256"},
        BadMixture{"ZeroTopK", kFfn, R"({"top_k": 0})", "ffn[0].top_k is 0, not within 1..4"},
        BadMixture{"LargeTopK", kFfn, R"({"top_k": 5})", "ffn[0].top_k is 5, not within 1..4"},
        BadMixture{"Normalize", kFfn, R"({"normalize_top_k": "yes"})",
                   "ffn[0].normalize_top_k is neither"},
        BadMixture{"NegativeZeros", kFfn, R"({"zero_experts": -1})", "ffn[0].zero_experts is -1"},
        BadMixture{"ManyCopies", kFfn, R"({"copy_experts": 257})", "ffn[0].copy_experts is 257"},
        BadMixture{"FractionOfConstants", kFfn, R"({"constant_experts": 1.5})",
                   "ffn[0].constant_experts"},
        BadMixture{"TooManyTogether", kFfn, R"({"zero_experts": 200, "copy_experts": 60})",
                   "ffn[0].num_experts and the zero, copy and constant experts are 264 together"},
        BadMixture{"TopKAboveAll", kFfn, R"({"zero_experts": 1, "top_k": 6})", "ffn[0].top_k is 6"},
        BadMixture{"ResidualOfText", kFfn, R"({"gating_residual": "yes"})",
                   "ffn[0].gating_residual"},
        BadMixture{"NameOfAZero", kFfn,
                   R"({"zero_experts": 1, "expert_names": ["a", "b", "zero", "d"]})",
                   "ffn[0].expert_names holds \"zero\", as the zero experts are called"},
        BadMixture{"NameOfACopy", kFfn,
                   R"({"copy_experts": 2, "expert_names": ["a", "copy-7", "c", "d"]})",
                   "ffn[0].expert_names holds \"copy-7\""},
        BadMixture{"Width", kFfn, R"({"intermediate_size": 0})", "ffn[0].intermediate_size is 0"},
        BadMixture{"Names", kFfn, R"({"expert_names": ["a"]})",
                   "ffn[0].expert_names is not a list of 4 names"},
        BadMixture{"Routing", kFfn, R"({"routing": "soft"})", "ffn[0].routing is not a known key"},
        BadMixture{"DenseWithExperts", R"({"kind": "dense"})", R"({"num_experts": 2})",
                   "ffn[0].num_experts is not a known key"}),
    [](const auto& test) { return test.param.name; });

TEST(MixtureConfigTest, RefusesMoreExpertsInAllLayersThanAnyModelHas) {
  json text = json::parse(kSmallPeerageConfig);
  text["attention"] = json::parse(kSoft);
  text["attention"]["num_experts"] = 128;
  text["ffn"] = json::array({json::parse(kFfn)});
  text["ffn"][0]["num_experts"] = 256;
  text["num_hidden_layers"] = 170;
  EXPECT_TRUE(ParseModelConfig(text.dump()).ok());
  text["num_hidden_layers"] = 171;
  EXPECT_EQ(ParseModelConfig(text.dump()).status().message(),
            "the mixtures of all layers have 65664 experts, more than 65536");
}

TEST(MixtureConfigTest, RefusesTwoMixturesInOneLayer) {
  json text = json::parse(kSmallPeerageConfig);
  text["ffn"] = json::array({json::parse(kFfn), json::parse(kFfn)});
  EXPECT_THAT(std::string(ParseModelConfig(text.dump()).status().message()),
              HasSubstr("ffn[1].kind is there twice"));
}

}  // namespace
}  // namespace peerage
