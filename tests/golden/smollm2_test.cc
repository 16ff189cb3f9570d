// SmolLM2 against what Hugging Face transformers computes from the same file, dequantised
// (tests/golden/make_smollm2_golden.py).
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/model_runner.h"

namespace peerage {
namespace {

using nlohmann::json;

const json& Golden() {
  static const json golden = [] {
    std::ifstream file("tests/golden/smollm2.json");
    return json::parse(file);
  }();
  return golden;
}

double MeanNll(LanguageModel& model) {
  double sum = 0;
  size_t count = 0;
  for (const json& text : Golden()["texts"]) {
    for (const float logprob : SequenceRunner(model, 0, 0).Score(text["tokens"], 512)) {
      sum -= logprob;
      ++count;
    }
  }
  return sum / count;
}

double GoldenMeanNll() {
  double sum = 0;
  size_t count = 0;
  for (const json& text : Golden()["texts"]) {
    for (const double logprob : text["log_probabilities"]) {
      sum -= logprob;
      ++count;
    }
  }
  return sum / count;
}

class SmolLm2F32Test : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    model_ = LoadOrDie(kSmolLm2, {.weights_dtype = nn::WeightsDtype::kF32, .threads = 2});
  }
  static void TearDownTestSuite() { model_.reset(); }

  static std::unique_ptr<LanguageModel> model_;
};
std::unique_ptr<LanguageModel> SmolLm2F32Test::model_;

TEST_F(SmolLm2F32Test, LogProbabilitiesEqualTransformers) {
  for (const json& text : Golden()["texts"]) {
    const std::vector<double> expected = text["log_probabilities"];
    const std::vector<float> actual = SequenceRunner(*model_, 0, 0).Score(text["tokens"], 512);
    ASSERT_EQ(actual.size(), expected.size());
    for (size_t i = 0; i < actual.size(); ++i) {
      EXPECT_NEAR(actual[i], expected[i], 2e-3) << text["name"] << " token " << i + 1;
    }
  }
}

// Beyond a near tie of the reference both ways are right, and the texts may part.
TEST_F(SmolLm2F32Test, GreedyContinuationsEqualTransformers) {
  constexpr double kNearTie = 1e-3;
  ASSERT_EQ(Golden()["greedy"].size(), 8u);
  for (const json& golden : Golden()["greedy"]) {
    const std::vector<TokenId> expected = golden["continuation"];
    const std::vector<double> gaps = golden["top_two_gaps"];
    ASSERT_EQ(expected.size(), 64u);
    const std::vector<TokenId> actual = SequenceRunner(*model_, 0, 0).Greedy(golden["tokens"], 64);
    for (size_t i = 0; i < expected.size() && gaps[i] > kNearTie; ++i) {
      ASSERT_EQ(actual[i], expected[i]) << golden["prompt"] << " token " << i;
    }
  }
}

TEST(SmolLm2StoredTest, QuantizedArithmeticCostsLittleLikelihood) {
  const auto model = LoadOrDie(kSmolLm2, {.threads = 2});
  ASSERT_EQ(model->description().weights_dtype, "q4_1");

  const double nll = MeanNll(*model);

  RecordProperty("mean_nll", std::to_string(nll));
  EXPECT_NEAR(nll / GoldenMeanNll(), 1, 0.003) << nll << " against " << GoldenMeanNll();
}

TEST(SmolLm2StoredTest, DescribesTheModel) {
  const auto model = LoadOrDie(kSmolLm2, {});
  const ModelDescription& d = model->description();

  EXPECT_EQ(d.architecture, "llama");
  EXPECT_EQ(d.total_parameters, 134'515'008u);
  EXPECT_EQ(d.num_layers, 30u);
  EXPECT_EQ(d.vocabulary_size, 49'152u);
  EXPECT_EQ(d.context_length, 8'192u);
  EXPECT_EQ(d.kv_bytes_per_token, 30u * 2 * 3 * 64 * 4);
  EXPECT_EQ(d.fingerprint.size(), 64u);
}

}  // namespace
}  // namespace peerage
