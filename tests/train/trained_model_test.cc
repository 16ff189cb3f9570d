// What the trainer reads, computes and writes beside the forward pass that serves: the same model,
// before and after training.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_replace.h"
#include "tests/support/model_runner.h"
#include "tests/train/run_fixture.h"
#include "train/training/train.h"

namespace peerage::train {
namespace {

using nlohmann::json;

// Those whose norm only another layout can say.
bool IsRefused(const std::string& name) {
  return name == "layout_lucidrains_memory" || name == "layout_lucidrains_pre_rmsnorm" ||
         name == "peer_small";
}

std::vector<std::string> ModelNames() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kGoldenModels)) {
    const std::string name = entry.path().filename();
    if (entry.is_directory() && !IsRefused(name)) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

void ExpectNear(const std::vector<float>& actual, const std::vector<float>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) EXPECT_NEAR(actual[i], expected[i], 1e-4) << i;
}

class TrainedModelTest : public testing::TestWithParam<std::string> {
 protected:
  std::string path() const {
    const std::string folder = kGoldenModels + GetParam(), gguf = folder + "/model.gguf";
    return std::filesystem::exists(gguf) ? gguf : folder;
  }

  std::vector<float> TrainersScores(TrainingRun& run, const std::vector<TokenId>& tokens) {
    const auto scores = run.model().LogProbabilities(
        {.sequences = 1, .length = static_cast<int>(tokens.size()) - 1, .tokens = tokens});
    EXPECT_TRUE(scores.ok()) << scores.status();
    return scores.value_or(std::vector<float>());
  }

  // Trains to the end, which changes what the model says, and compares it with what is served then.
  void TrainAndCompare(RunFixture& fixture, TrainingRun& run) {
    const std::vector<std::vector<TokenId>> sequences = Sequences();
    const std::vector<float> before = TrainersScores(run, sequences.back());

    const absl::Status trained = TrainUntil(run, -1);

    ASSERT_TRUE(trained.ok()) << trained;
    EXPECT_NE(TrainersScores(run, sequences.back()), before);
    const auto server = LoadOrDie(fixture.out(), {.kv_cache_bytes = 8 << 20});
    for (const std::vector<TokenId>& tokens : sequences) {
      ExpectNear(TrainersScores(run, tokens), SequenceRunner(*server, 0, 0).Score(tokens, 64));
    }
  }

  std::vector<std::vector<TokenId>> Sequences() const {
    std::ifstream file(kGoldenModels + GetParam() + "/expected.json");
    std::vector<std::vector<TokenId>> sequences;
    const json expected = json::parse(file);
    for (const json& sequence : expected["sequences"]) sequences.push_back(sequence["tokens"]);
    return sequences;
  }
};

TEST_P(TrainedModelTest, IsServedAsItWasTrained) {
  RunFixture fixture(path());
  fixture["schedule"] = "steps = 5\n";
  const std::unique_ptr<TrainingRun> run = fixture.OpenOrDie();
  {
    const auto server =
        LoadOrDie(path(), {.weights_dtype = nn::WeightsDtype::kF32, .kv_cache_bytes = 8 << 20});
    for (const std::vector<TokenId>& tokens : Sequences()) {
      ExpectNear(TrainersScores(*run, tokens), SequenceRunner(*server, 0, 0).Score(tokens, 64));
    }
  }
  TrainAndCompare(fixture, *run);
}

INSTANTIATE_TEST_SUITE_P(All, TrainedModelTest, testing::ValuesIn(ModelNames()),
                         [](const auto& info) { return info.param; });

class SoftRoutingTest : public TrainedModelTest {};

TEST_P(SoftRoutingTest, IsOfTrainingAlone) {
  RunFixture fixture(path());
  fixture["schedule"] = "steps = 5\n";
  fixture["optimizer"] += "routing = \"soft\"\n";
  TrainAndCompare(fixture, *fixture.OpenOrDie());
}

INSTANTIATE_TEST_SUITE_P(Mixtures, SoftRoutingTest,
                         testing::Values("mixture_bam_kv_experts", "mixture_moepp"),
                         [](const auto& info) { return info.param; });

constexpr char kPeerConfig[] = R"({
  "model_type": "peerage", "format_version": 1, "vocab_size": 288, "hidden_size": 32,
  "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
  "intermediate_size": 64, "max_position_embeddings": 64, "tie_word_embeddings": true,
  "layers": {"1": {"ffn": [{"kind": "peer", "num_experts": 64, "heads": 2, "top_k": 4,
                            "key_dim": 16, "query_norm": "batch"}]}}})";

TEST(NewModelTest, LearnsAndIsServed) {
  RunFixture fixture;
  fixture.MakeNew(kPeerConfig);
  fixture["optimizer"] = "learning_rate = 1e-2\nbatch_sequences = 8\n";
  fixture["schedule"] = "steps = 60\n";
  fixture["data"] += "\n";
  fixture["data"] = "held_out = \"tests/golden/texts/prose_science.txt\"\n" + fixture["data"];
  const std::unique_ptr<TrainingRun> run = fixture.OpenOrDie();
  const auto before = run->Evaluate();
  ASSERT_TRUE(before.ok()) << before.status();
  // Scaled as FillValues says, a new model knows nothing and is not far from saying so.
  EXPECT_NEAR(before->front().loss, std::log(288), 1.0);

  ASSERT_TRUE(TrainUntil(*run, -1).ok());

  const auto after = run->Evaluate();
  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_LT(after->front().loss, 0.75 * before->front().loss);
  LoadOrDie(fixture.out(), {.kv_cache_bytes = 8 << 20});
}

// A recipe writes the configs of its new models before every run.
TEST(NewModelTest, DoesNotGoOnAsOneThatComputesSomethingElse) {
  RunFixture fixture;
  fixture.MakeNew(kPeerConfig);
  EXPECT_EQ(TrainUntil(*fixture.OpenOrDie(), 3).code(), absl::StatusCode::kCancelled);
  fixture.folder().Write("config.json",
                         absl::StrReplaceAll(kPeerConfig, {{"\"top_k\": 4", "\"top_k\": 5"}}));
  EXPECT_THAT(std::string(fixture.OpenError(/*resume=*/true).message()),
              testing::HasSubstr("the content of the model's config.json was "));
}

TEST(NewModelTest, IsTheSameFromTheSameSeed) {
  const auto embedding_of = [](const std::string& seed) {
    RunFixture fixture;
    fixture.MakeNew(kPeerConfig);
    fixture["model"] = fixture["model"].substr(0, fixture["model"].find("seed")) + seed;
    const auto run = fixture.OpenOrDie();
    const absl::Span<float> values = run->model().Values("model.embed_tokens.weight");
    return std::vector<float>(values.begin(), values.end());
  };
  EXPECT_EQ(embedding_of("seed = 3\n"), embedding_of("seed = 3\n"));
  EXPECT_NE(embedding_of("seed = 3\n"), embedding_of("seed = 4\n"));
}

TEST(FrozenTensorsTest, KeepTheirBits) {
  RunFixture fixture(std::string(kGoldenModels) + "layout_ostix360_glu");
  fixture["model"] += "train = \"model.layers.*.ffn.peer.**\"\nfreeze = \"**.up.weight\"\n";
  const std::unique_ptr<TrainingRun> run = fixture.OpenOrDie();
  std::vector<std::vector<float>> before;
  for (const nn::PlannedTensor& tensor : run->model().tensors()) {
    const absl::Span<float> values = run->model().Values(tensor.name);
    before.emplace_back(values.begin(), values.end());
  }

  ASSERT_TRUE(TrainUntil(*run, -1).ok());

  size_t changed = 0;
  for (size_t i = 0; i < before.size(); ++i) {
    const std::string& name = run->model().tensors()[i].name;
    const bool trained = name.find(".ffn.peer.") != std::string::npos &&
                         name.find(".up.weight") == std::string::npos;
    const absl::Span<float> after = run->model().Values(name);
    EXPECT_EQ(std::vector<float>(after.begin(), after.end()) != before[i], trained) << name;
    changed += trained;
  }
  EXPECT_GT(changed, 5u);
}

TEST(ComputeTypeTest, BF16IsNearF32) {
  const auto loss_of = [](const std::string& compute) {
    RunFixture fixture(std::string(kGoldenModels) + "mixture_bam_kv_experts");
    fixture["run"] += "compute = \"" + compute + "\"\n";
    const auto run = fixture.OpenOrDie();
    double loss = 0;
    for (int step = 0; step < 3; ++step) {
      const auto figures = run->Step();
      EXPECT_TRUE(figures.ok()) << figures.status();
      loss = figures->loss;
    }
    return loss;
  };
  const double exact = loss_of("f32"), rounded = loss_of("bf16");
  EXPECT_NE(exact, rounded);
  EXPECT_NEAR(exact, rounded, 0.05 * exact);
}

TEST(TrainTest, TellsExpertUsageBesideChance) {
  RunFixture fixture(std::string(kGoldenModels) + "layout_meta_memory");
  fixture["run"] += "progress_every = 3\n";
  const auto run = fixture.OpenOrDie();
  std::vector<std::string> lines;
  const absl::Status status =
      Train(*run, {.say = [&](const std::string& line) { lines.push_back(line); }});
  ASSERT_TRUE(status.ok()) << status;
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_THAT(lines[0], testing::HasSubstr("step 3/6  loss "));
  EXPECT_THAT(lines[0], testing::ContainsRegex("1\\.peer [0-9.]+ % used \\(chance [0-9.]+ %\\)"));
  std::ifstream file(fixture.out() + "/training.jsonl");
  std::string line;
  ASSERT_TRUE(std::getline(file, line));
  const json first = json::parse(line);
  EXPECT_EQ(first["step"], 3);
  // 3 steps of 4 sequences of 16 tokens, 3 heads with 5 picks each, of 121 experts.
  EXPECT_GT(first["experts"][0]["used_by_chance"], 0.99);
  EXPECT_GT(first["experts"][0]["used"], 0.1);
  std::ifstream picture(fixture.out() + "/training.png", std::ios::binary);
  std::string signature(8, '\0');
  picture.read(signature.data(), 8);
  EXPECT_EQ(signature, "\x89PNG\r\n\x1a\n");
}

}  // namespace
}  // namespace peerage::train
