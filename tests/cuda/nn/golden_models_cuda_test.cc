// The golden models on a CUDA device, held against the CPU: the same log-probabilities, the same
// greedy text, the same bits however a prompt is chunked.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/golden/product_key_fixtures.h"
#include "tests/support/model_runner.h"
#include "tests/support/temporary_directory.h"

namespace peerage {
namespace {

using nlohmann::json;

constexpr char kModels[] = "tests/golden/models";

std::unique_ptr<LanguageModel> Load(const std::string& path, const std::string& device) {
  return LoadOrDie(path, {.device = device,
                          .weights_dtype = nn::WeightsDtype::kF32,
                          .expert_dtype = nn::ExpertDtype::kF32,
                          .num_slots = 2,
                          .kv_cache_bytes = 8 << 20});
}

void ExpectTheSameAnswers(const std::string& path, const std::vector<TokenId>& tokens) {
  constexpr int kGreedyTokens = 8;
  const auto cpu = Load(path, "cpu");
  const auto cuda = Load(path, "cuda:0");
  const std::vector<float> expected = SequenceRunner(*cpu, 0, 0).Score(tokens, 64);
  const std::vector<float> actual = SequenceRunner(*cuda, 0, 0).Score(tokens, 64);
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) EXPECT_NEAR(actual[i], expected[i], 1e-4) << i;
  EXPECT_EQ(SequenceRunner(*cuda, 1, 0).Score(tokens, 7), actual) << "in chunks of 7";

  const auto end = tokens.begin() + std::min<ptrdiff_t>(5, std::ssize(tokens));
  const std::vector<TokenId> prompt(tokens.begin(), end);
  EXPECT_EQ(SequenceRunner(*cuda, 0, 0).Greedy(prompt, kGreedyTokens),
            SequenceRunner(*cpu, 0, 0).Greedy(prompt, kGreedyTokens));
}

// The first sequence of the fixture, cut: what is executed without a GPU takes its time.
std::vector<TokenId> TokensOf(const json& fixture) {
  constexpr size_t kMostTokens = 24;
  std::vector<TokenId> tokens = fixture["sequences"][0]["tokens"];
  tokens.resize(std::min(tokens.size(), kMostTokens));
  return tokens;
}

std::vector<std::string> ModelNames() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kModels)) {
    if (entry.is_directory()) names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}

class GoldenModelCudaTest : public testing::TestWithParam<std::string> {};

TEST_P(GoldenModelCudaTest, AnswersAsOnTheCpu) {
  const std::string folder = std::string(kModels) + "/" + GetParam();
  const std::string gguf = folder + "/model.gguf";
  std::ifstream file(folder + "/expected.json");
  ExpectTheSameAnswers(std::filesystem::exists(gguf) ? gguf : folder, TokensOf(json::parse(file)));
}

INSTANTIATE_TEST_SUITE_P(All, GoldenModelCudaTest, testing::ValuesIn(ModelNames()),
                         [](const auto& info) { return info.param; });

class ProductKeyModelCudaTest : public testing::TestWithParam<std::string> {};

TEST_P(ProductKeyModelCudaTest, AnswersAsOnTheCpu) {
  const json fixture = ProductKeyFixture(GetParam());
  const TemporaryDirectory folder;
  WriteProductKeyModel(GetParam(), fixture, folder);
  ExpectTheSameAnswers(folder.path(), TokensOf(fixture));
}

INSTANTIATE_TEST_SUITE_P(All, ProductKeyModelCudaTest, testing::ValuesIn(ProductKeyFixtureNames()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace peerage
