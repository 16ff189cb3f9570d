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
  directory.Write("tokenizer.json", kSmallTokenizerJson);

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
  directory.Write("tokenizer.json", kSmallTokenizerJson);

  const std::string report = InspectionText(*Inspect(directory.path(), 100));

  EXPECT_THAT(report, HasSubstr("\nstored weights               39,296 bytes   38.4 KiB\n"));
  EXPECT_THAT(report, HasSubstr("\n  dense_ffn                   6,144     6.1K"
                                "          24,576 bytes   24.0 KiB\n"));
  EXPECT_THAT(report, HasSubstr("\nKV per token                    128 bytes      128 B (f32)\n"));
}

TEST(InspectionTest, ShowsWhatIsComputedAndEveryDefault) {
  const TemporaryDirectory directory;
  json config = json::parse(PeerConfigText());
  config["rope_theta"] = 5e5;
  config["norm_type"] = "layernorm";
  const std::string path = directory.Write("any.json", config.dump());

  const json report = InspectJson(path);
  const std::string text = InspectionText(*Inspect(path, 100));

  EXPECT_EQ(report["norm_type"], "layernorm");
  EXPECT_EQ(report["norm_eps"], 1e-5);
  EXPECT_EQ(report["rope_theta"], 5e5);
  EXPECT_EQ(report["rope_interleaved"], false);
  EXPECT_EQ(report["hidden_act"], "silu");
  EXPECT_EQ(report["tie_word_embeddings"], false);
  EXPECT_TRUE(report["stored_dtypes"].is_null());
  EXPECT_TRUE(report["tokenizer"].is_null());
  EXPECT_EQ(report["defaults"], json::parse(R"({
      "attention": "dense", "ffn": "dense 64", "head_dim": 16, "hidden_act": "silu",
      "norm_eps": 1e-05, "parallel_block": false, "rope_interleaved": false,
      "tie_word_embeddings": false, "layers[1].ffn[0].intermediate_size": 64,
      "layers[1].ffn[1].activation": "gelu", "layers[1].ffn[1].experts": "shared",
      "layers[1].ffn[1].glu": false, "layers[1].ffn[1].keys": "shared",
      "layers[1].ffn[1].layout": "peerage", "layers[1].ffn[1].pre_rmsnorm": false,
      "layers[1].ffn[1].query_bias": false, "layers[1].ffn[1].query_norm": "none",
      "layers[1].ffn[1].query_norm_eps": 1e-05, "layers[1].ffn[1].score": "softmax"})"));
  EXPECT_THAT(text, HasSubstr("\n  norm              layernorm, eps 1e-05\n"
                              "  rope              base 500000, over all 16 dimensions of a head, "
                              "pairs (i, i + 8), not scaled\n"
                              "  activation        silu\n"));
  EXPECT_THAT(text, HasSubstr("\n  layers[1].ffn[1].score = softmax\n"));
}

TEST(InspectionTest, ShowsTheDefaultsOfALlamaOnlyWhereTheyAreTaken) {
  const TemporaryDirectory directory;
  json config = json::parse(kSmallLlamaConfig);
  config.erase("rope_theta");
  config.erase("rms_norm_eps");
  const auto defaults = [&] {
    return InspectJson(directory.Write("any.json", config.dump()))["defaults"];
  };
  EXPECT_EQ(defaults(), json::parse(R"({"head_dim": 16, "hidden_act": "silu",
      "rms_norm_eps": 1e-06, "rope_theta": 10000, "tie_word_embeddings": false})"));
  config["rope_parameters"] = {{"rope_theta", 10000.0}};
  config["rms_norm_eps"] = 1e-6;
  EXPECT_EQ(defaults(), json::parse(R"({"head_dim": 16, "hidden_act": "silu",
      "tie_word_embeddings": false})"));
}

TEST(InspectionTest, ShowsTheTokenizerAndWhereItsEndsComeFrom) {
  const TemporaryDirectory directory;
  directory.Write("config.json", kSmallLlamaConfig);
  directory.Write("model.safetensors", SafetensorsOf(SmallLlamaTensors()));
  directory.Write("tokenizer.json", kSmallTokenizerJson);
  directory.Write("tokenizer_config.json", R"({"bos_token": "<s>"})");
  directory.Write("generation_config.json", R"({"eos_token_id": [2, 5]})");
  directory.Write("chat_template.jinja", "{{ bos_token }}");

  const json report = InspectJson(directory.path());
  const std::string text = InspectionText(*Inspect(directory.path(), 100));

  EXPECT_EQ(report["stored_dtypes"],
            json::parse(R"([{"dtype": "f32", "tensors": 12, "bytes": 39296}])"));
  EXPECT_EQ(report["tokenizer"], json::parse(R"({
      "vocabulary_size": 8, "named_tokens": 4, "add_bos": false, "add_bos_source": null,
      "bos_token": {"id": 3, "text": "<s>", "sources": ["tokenizer_config.json"]},
      "eos_tokens": [
          {"id": 2, "text": "ab", "sources": ["generation_config.json", "config.json"]},
          {"id": 5, "text": "", "sources": ["generation_config.json"]}],
      "chat_template": null,
      "chat_template_error": "the model's chat template is not understood, as it is not ChatML: not supported in a chat template: bos_token"})"));
  EXPECT_THAT(text, HasSubstr("\ntokenizer\n"
                              "  vocabulary        4 tokens for 8 ids\n"
                              "  BOS               3 \"<s>\" (tokenizer_config.json)\n"
                              "    not taken       1 \"b\" (config.json)\n"
                              "    put             not before texts, as nothing says so\n"
                              "  EOS               2 \"ab\" (generation_config.json, config.json)\n"
                              "    and             5 \"\" (generation_config.json)\n"
                              "  chat template     none: the model's chat template is not"));
  EXPECT_THAT(text, HasSubstr("\n  stored            12 tensors of f32 (38.4 KiB)\n"));
}

// A server would refuse it before it read a weight.
TEST(InspectionTest, RefusesATokenizerThatCannotBeServed) {
  const TemporaryDirectory directory;
  directory.Write("config.json", kSmallLlamaConfig);
  directory.Write("model.safetensors", SafetensorsOf(SmallLlamaTensors()));
  directory.Write("tokenizer.json", "{}");
  EXPECT_EQ(Inspect(directory.path(), 1).status().message(),
            directory.path() + ": tokenizer.json: no model");
}

TEST(InspectionTest, NamesTheFileOfAnError) {
  const TemporaryDirectory directory;
  const std::string path = directory.Write("any.json", "{}");

  EXPECT_EQ(std::string(Inspect(path, 1).status().message()), path + ": model_type is missing");
  EXPECT_THAT(std::string(Inspect("/nowhere", 1).status().message()), HasSubstr("/nowhere"));
}

}  // namespace
}  // namespace peerage::transform
