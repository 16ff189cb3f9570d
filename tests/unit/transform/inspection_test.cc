#include "model/transform/inspection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "model/transform/inspection_report.h"
#include "tests/support/small_models.h"
#include "tests/support/temporary_directory.h"

namespace peerage::transform {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

// The small model with two layers, the second with experts beside its dense part.
std::string PeerConfig() {
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

  const json report = InspectJson(directory.Write("any.json", PeerConfig()));

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
  const json report = InspectJson(directory.Write("any.json", PeerConfig()));

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
                                      "routing": "soft", "expert_names": ["law", "a\nb"]})");
  text["ffn"] = json::parse(R"([{"kind": "mixture", "num_experts": 3, "top_k": 2,
                                 "expert_names": ["x", "y", "z"]}])");
  text["layers"]["1"]["attention"] = json::parse(
      R"({"kind": "mixture", "num_experts": 4, "kv": "expert", "routing": "top_k", "top_k": 2})");
  const std::string path = directory.Write("any.json", text.dump());

  const json layers = InspectJson(path)["layers"];
  const std::string report = InspectionText(*Inspect(path, 100));

  EXPECT_EQ(layers[0]["attention"]["routing"], "soft");
  EXPECT_EQ(layers[0]["attention"]["expert_names"], json({"law", "a\nb"}));
  EXPECT_EQ(layers[1]["attention"]["routing"], "top_k");
  EXPECT_EQ(layers[1]["attention"]["expert_names"], json::array());
  EXPECT_EQ(layers[0]["ffn"][0]["expert_names"], json({"x", "y", "z"}));
  EXPECT_THAT(report, HasSubstr("attention of 2 experts (\"law\" \"a\\nb\"), soft, shared KV; "
                                "mixture of 3 experts (\"x\" \"y\" \"z\"), top 2, 64\n"));
  EXPECT_THAT(report, HasSubstr("attention of 4 experts, top 2, own KV; "));
}

TEST(InspectionTest, PutsEqualLayersOnOneLine) {
  const TemporaryDirectory directory;
  json text = json::parse(PeerConfig());
  text["num_hidden_layers"] = 5;
  const auto inspection = Inspect(directory.Write("any.json", text.dump()), 100);

  const std::string report = InspectionText(*inspection);

  EXPECT_THAT(report, HasSubstr("5 layers"));
  EXPECT_THAT(report, HasSubstr("\n  0  "));
  EXPECT_THAT(report, HasSubstr("dense 64 + peer 64, 2 heads x top 3\n"));
  EXPECT_THAT(report, HasSubstr("\n  2-4  "));
}

TEST(InspectionTest, NamesTheFileOfAnError) {
  const TemporaryDirectory directory;
  const std::string path = directory.Write("any.json", "{}");

  EXPECT_EQ(std::string(Inspect(path, 1).status().message()), path + ": model_type is missing");
  EXPECT_THAT(std::string(Inspect("/nowhere", 1).status().message()), HasSubstr("/nowhere"));
}

}  // namespace
}  // namespace peerage::transform
