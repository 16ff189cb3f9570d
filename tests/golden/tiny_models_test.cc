// Small random models over every choice of the format, against independent references
// (tests/golden/make_tiny_models.py).
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/model_runner.h"

namespace peerage {
namespace {

using nlohmann::json;

constexpr char kModels[] = "tests/golden/models";

std::vector<std::string> ModelNames() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kModels)) {
    if (entry.is_directory()) names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}

class TinyModelTest : public testing::TestWithParam<std::string> {
 protected:
  std::string folder() const { return std::string(kModels) + "/" + GetParam(); }
  std::string path() const {
    const std::string gguf = folder() + "/model.gguf";
    return std::filesystem::exists(gguf) ? gguf : folder();
  }
};

TEST_P(TinyModelTest, LogProbabilitiesEqualTheReference) {
  std::ifstream file(folder() + "/expected.json");
  const json expected = json::parse(file);
  const auto model =
      LoadOrDie(path(), {.weights_dtype = nn::WeightsDtype::kF32, .kv_cache_bytes = 8 << 20});

  for (const json& sequence : expected["sequences"]) {
    const std::vector<double> wanted = sequence["log_probabilities"];
    const std::vector<float> actual = SequenceRunner(*model, 0, 0).Score(sequence["tokens"], 64);
    ASSERT_EQ(actual.size(), wanted.size());
    for (size_t i = 0; i < actual.size(); ++i) EXPECT_NEAR(actual[i], wanted[i], 1e-3) << i;
  }
}

TEST_P(TinyModelTest, BitsDoNotDependOnChunksOrThreads) {
  std::ifstream file(folder() + "/expected.json");
  const json expected = json::parse(file);
  const std::vector<TokenId> tokens = expected["sequences"][0]["tokens"];
  const auto one = LoadOrDie(path(), {.threads = 1, .kv_cache_bytes = 8 << 20});
  const auto three = LoadOrDie(path(), {.threads = 3, .kv_cache_bytes = 8 << 20});

  const std::vector<float> whole = SequenceRunner(*one, 0, 0).Score(tokens, 512);

  for (const int chunk : {1, 2, 7, 16}) {
    EXPECT_EQ(SequenceRunner(*one, 1, 1).Score(tokens, chunk), whole) << chunk;
    EXPECT_EQ(SequenceRunner(*three, 0, 2).Score(tokens, chunk), whole) << chunk;
  }
}

INSTANTIATE_TEST_SUITE_P(All, TinyModelTest, testing::ValuesIn(ModelNames()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace peerage
