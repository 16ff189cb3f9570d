#include "model/transform/inspect/inspection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "model/transform/inspect/inspection_report.h"
#include "tests/support/small_models.h"
#include "tests/support/temporary_directory.h"

namespace peerage::transform {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

// The small model with two layers, the second with experts beside its dense part.
std::string PeerConfigText() {
  json text = json::parse(kSmallPeerageConfig);
  text["num_hidden_layers"] = 3;
  text["layers"]["1"]["ffn"] = json::parse(
      R"([{"kind": "dense"}, {"kind": "peer", "num_experts": 64, "heads": 2, "top_k": 3,
           "key_dim": 8}])");
  return text.dump();
}

json InspectJson(const std::string& path) {
  const auto inspection = Inspect(path, 100);
  EXPECT_TRUE(inspection.ok()) << inspection.status();
  return json::parse(InspectionJson(*inspection).dump());
}

constexpr uint64_t kSmallAttention = 2 * 32 * 32 + 2 * 16 * 32, kSmallFfn = 3 * 64 * 32;
constexpr uint64_t kSmallPeer = 2 * 64 * 32, kSmallRouter = 2 * 8 * 32 + 2 * 8 * 4;

TEST(InspectionTest, OfABareConfigKnowsAllButTheBytes) {
  const TemporaryDirectory directory;

  const json report = InspectJson(directory.Write("any.json", PeerConfigText()));

  const uint64_t total =
      2 * 8 * 32 + 3 * (kSmallAttention + kSmallFfn + 2 * 32) + 32 + kSmallPeer + kSmallRouter;
  EXPECT_EQ(report["total_parameters"], total);
  EXPECT_EQ(report["active_parameters"], total - 2 * (64 - 6) * 32);
  EXPECT_EQ(report["kv_bytes_per_token"], 3 * 2 * 16 * 4);
  EXPECT_EQ(report["context"], 100);
  const uint64_t dense = 2 * (kSmallAttention + kSmallFfn) + 2 * 100 * 32;
  const uint64_t router = 2 * (2 * 8 * 32) + 2 * 2 * 8 * 8;
  EXPECT_EQ(report["flops_per_token"], json({dense, dense + router + 4 * 6 * 32, dense}));
  EXPECT_EQ(report["parameters_by_part"]["peer_experts"], kSmallPeer);
  EXPECT_EQ(report["parameters_by_part"]["peer_router"], kSmallRouter);
  EXPECT_EQ(report["parameters_by_part"]["dense_ffn"], 3 * kSmallFfn);
  EXPECT_EQ(report["parameters_by_part"]["attention"], 3 * kSmallAttention);
  EXPECT_EQ(report["parameters_by_part"]["norms"], 7 * 32);
  EXPECT_TRUE(report["bytes_by_part"].is_null());
  EXPECT_EQ(report["layers"][1]["ffn"][1]["kind"], "peer");
  EXPECT_EQ(report["layers"][1]["ffn"][1]["num_experts"], 64);
  EXPECT_EQ(report["layers"][0]["ffn"], json::parse(R"([{"kind": "dense",
                                                         "intermediate_size": 64}])"));
}

TEST(InspectionTest, PartsAddUpToTheWhole) {
  const TemporaryDirectory directory;
  const json report = InspectJson(directory.Write("any.json", PeerConfigText()));

  uint64_t sum = 0;
  for (const auto& [part, parameters] : report["parameters_by_part"].items()) {
    EXPECT_NE(part, "other");
    sum += parameters.get<uint64_t>();
  }
  EXPECT_EQ(report["total_parameters"], sum);
}

TEST(InspectionTest, OfAModelDirectoryKnowsTheBytes) {
  const TemporaryDirectory directory;
  directory.Write("config.json", kSmallLlamaConfig);
  directory.Write("model.safetensors", SafetensorsOf(SmallLlamaTensors()));
  directory.Write("tokenizer.json", "{}");

  const json report = InspectJson(directory.path());

  EXPECT_EQ(report["architecture"], "llama");
  EXPECT_EQ(report["bytes_by_part"]["head"], 4 * 8 * 32);
  EXPECT_EQ(report["bytes_by_part"]["dense_ffn"], 4 * kSmallFfn);
}

TEST(InspectionTest, ShowsHowMixturesRouteAndWhomTo) {
  const TemporaryDirectory directory;
  json text = json::parse(kSmallPeerageConfig);
  text["num_hidden_layers"] = 2;
  text["attention"] = json::parse(R"({"kind": "mixture", "num_experts": 2, "kv": "shared",
                                      "routing": "soft",
                                      "expert_names": ["law", "a\n\u001b[31mb"]})");
  text["ffn"] = json::parse(R"([{"kind": "mixture", "num_experts": 3, "top_k": 2,
                                 "normalize_top_k": true, "expert_names": ["x", "y", "z"]}])");
  text["layers"]["1"]["attention"] = json::parse(
      R"({"kind": "mixture", "num_experts": 4, "kv": "expert", "routing": "top_k", "top_k": 2})");
  const std::string path = directory.Write("any.json", text.dump());

  const json layers = InspectJson(path)["layers"];
  const std::string report = InspectionText(*Inspect(path, 100));

  EXPECT_EQ(layers[0]["attention"]["routing"], "soft");
  EXPECT_EQ(layers[0]["attention"]["expert_names"], json({"law", "a\n\x1b[31mb"}));
  EXPECT_EQ(layers[1]["attention"]["routing"], "top_k");
  EXPECT_EQ(layers[1]["attention"]["expert_names"], json::array());
  EXPECT_EQ(layers[0]["ffn"][0]["expert_names"], json({"x", "y", "z"}));
  EXPECT_THAT(
      report,
      HasSubstr(
          "    attention  mixture of 2 experts, soft, shared KV: \"law\", \"a\\n\\x1b[31mb\"\n"
          "    ffn        mixture of 3 experts, top 2 renormalised, each dense 64: \"x\", \"y\", "
          "\"z\"\n"));
  EXPECT_THAT(report, HasSubstr("    attention  mixture of 4 experts, top 2, own KV\n"));
}

TEST(InspectionTest, TakesEqualNeighboursTogether) {
  const TemporaryDirectory directory;
  json text = json::parse(PeerConfigText());
  text["num_hidden_layers"] = 5;
  const auto inspection = Inspect(directory.Write("any.json", text.dump()), 100);

  const std::string report = InspectionText(*inspection);

  EXPECT_THAT(report, HasSubstr("5 layers"));
  EXPECT_THAT(report, HasSubstr("\n  0                          24,832    24.8K\n"
                                "    attention  dense\n"
                                "    ffn        dense 64\n"
                                "  1  "));
  EXPECT_THAT(report, HasSubstr("    ffn        dense 64\n"
                                "    ffn        peer of 64 experts, 2 heads x top 3, keys shared, "
                                "key_dim 8, score softmax, activation gelu\n"
                                "  2-4  "));
}

// Two neighbours that differ in one field of their experts.
class DifferingNeighboursTest : public ::testing::TestWithParam<const char*> {};

TEST_P(DifferingNeighboursTest, AreShownApartWithWhatDiffers) {
  const TemporaryDirectory directory;
  json text = json::parse(PeerConfigText());
  json& layers = text["layers"];
  layers["0"] = layers["1"];
  layers["1"]["ffn"][1].update(json::parse(GetParam()));
  const auto inspection = Inspect(directory.Write("any.json", text.dump()), 100);
  ASSERT_TRUE(inspection.ok()) << inspection.status();

  const std::string report = InspectionText(*inspection);

  const size_t second = report.find("\n  1  ");
  ASSERT_NE(second, std::string::npos) << report;
  const auto experts = [&report](size_t from) {
    const size_t begin = report.find("peer of", from);
    return report.substr(begin, report.find('\n', begin) - begin);
  };
  EXPECT_NE(experts(0), experts(second));
  const json ffn = json::parse(InspectionJson(*inspection).dump())["layers"];
  EXPECT_NE(ffn[0]["ffn"][1], ffn[1]["ffn"][1]);
}

INSTANTIATE_TEST_SUITE_P(Fields, DifferingNeighboursTest,
                         ::testing::Values(R"({"heads": 1})", R"({"top_k": 4})",
                                           R"({"key_dim": 6})", R"({"keys": "per_head"})",
                                           R"({"experts": "per_head"})", R"({"query_bias": true})",
                                           R"({"query_norm": "batch"})",
                                           R"({"query_norm_eps": 1e-6})", R"({"score": "sigmoid"})",
                                           R"({"activation": "silu"})", R"({"glu": true})",
                                           R"({"pre_rmsnorm": true})",
                                           R"({"layout": "lucidrains", "keys": "per_head"})"));

TEST(InspectionTest, GivesSizesExactlyAndAsPeopleReadThem) {
  const TemporaryDirectory directory;
  directory.Write("config.json", kSmallLlamaConfig);
  directory.Write("model.safetensors", SafetensorsOf(SmallLlamaTensors()));
  directory.Write("tokenizer.json", "{}");

  const std::string report = InspectionText(*Inspect(directory.path(), 100));

  EXPECT_THAT(report, HasSubstr("\nstored weights               39,296 bytes   38.4 KiB\n"));
  EXPECT_THAT(report, HasSubstr("\n  dense_ffn                   6,144     6.1K"
                                "          24,576 bytes   24.0 KiB\n"));
  EXPECT_THAT(report, HasSubstr("\nKV per token                    128 bytes      128 B (f32)\n"));
}

TEST(InspectionTest, NamesTheFileOfAnError) {
  const TemporaryDirectory directory;
  const std::string path = directory.Write("any.json", "{}");

  EXPECT_EQ(std::string(Inspect(path, 1).status().message()), path + ": model_type is missing");
  EXPECT_THAT(std::string(Inspect("/nowhere", 1).status().message()), HasSubstr("/nowhere"));
}

}  // namespace
}  // namespace peerage::transform
