// Steps of training beside PyTorch's own, for each kind of layer (make_train_golden.py).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "model/checkpoint/config/parse_model_config.h"
#include "model/checkpoint/container/stored_weights.h"
#include "model/nn/plan/model_plan.h"
#include "tests/golden/hashed_weights.h"
#include "train/network/learning_model.h"
#include "train/training/tensor_selection.h"

namespace peerage::train {
namespace {

using nlohmann::json;

constexpr char kGolden[] = "tests/train/golden";

std::vector<std::string> FixtureNames() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kGolden)) {
    if (entry.path().extension() == ".json") names.push_back(entry.path().stem());
  }
  std::sort(names.begin(), names.end());
  return names;
}

// What PyTorch found, by name.
class ExpectedArrays {
 public:
  explicit ExpectedArrays(const std::string& path) : weights_(*OpenWeightFile(path)) {}

  std::vector<float> operator[](const std::string& name) const {
    for (const StoredTensor& tensor : weights_.tensors) {
      if (tensor.name != name) continue;
      std::vector<float> values(tensor.bytes / sizeof(float));
      EXPECT_TRUE(
          weights_.files[0]
              ->Read(tensor.offset,
                     absl::MakeSpan(reinterpret_cast<uint8_t*>(values.data()), tensor.bytes))
              .ok());
      return values;
    }
    ADD_FAILURE() << "no " << name;
    return {};
  }

 private:
  StoredWeights weights_;
};

// The largest difference, as a share of the largest expected value where that is above one.
double Distance(absl::Span<const float> actual, const std::vector<float>& expected) {
  if (actual.size() != expected.size()) return INFINITY;
  double most = 1, distance = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    most = std::max(most, std::abs(double{expected[i]}));
    distance = std::max(distance, std::abs(double{actual[i]} - double{expected[i]}));
  }
  return distance / most;
}

OptimizerSection OptimizerOf(const json& fixture) {
  const json& o = fixture["optimizer"];
  return {.learning_rate = o["learning_rate"],
          .beta1 = o["beta1"],
          .beta2 = o["beta2"],
          .epsilon = o["epsilon"],
          .weight_decay = o["weight_decay"],
          .clip = o["clip"],
          .balance_loss = o["balance_loss"],
          .z_loss = o["z_loss"]};
}

class TrainingStepTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    LearningModel::SetThreads(1);
    std::ifstream file(std::string(kGolden) + "/" + GetParam() + ".json");
    fixture_ = json::parse(file);
    const absl::StatusOr<ModelConfig> config = ParseModelConfig(fixture_["config"].dump());
    ASSERT_TRUE(config.ok()) << config.status();
    const OptimizerSection optimizer = OptimizerOf(fixture_);
    const auto learning = SelectTensors(nn::PlanModel(*config).Tensors(), {}, optimizer);
    ASSERT_TRUE(learning.ok()) << learning.status();
    model_ = std::make_unique<LearningModel>(*config, *learning,
                                             LearningModel::Options{.optimizer = optimizer});
    ASSERT_EQ(model_->tensors().size(), fixture_["tensors"].size());
    for (const json& tensor : fixture_["tensors"]) Fill(tensor[0], tensor[2]);
  }

  void Fill(const std::string& name, const json& exponent) {
    std::optional<int> power;
    if (!exponent.is_null()) power = exponent.get<int>();
    const absl::Span<float> values = model_->Values(name);
    const std::string bytes = HashedTensor(GetParam() + "/" + name, values.size(), power, "F32");
    std::memcpy(values.data(), bytes.data(), bytes.size());
  }

  // Of one step, which may come in several parts.
  TokenBatch Batch(size_t step) const {
    return {.sequences = fixture_["sequences"],
            .length = fixture_["length"],
            .tokens = fixture_["tokens"][step].get<std::vector<TokenId>>()};
  }

  json fixture_;
  std::unique_ptr<LearningModel> model_;
};

TEST_P(TrainingStepTest, OneStepEqualsPyTorchs) {
  constexpr double kTolerance = 1e-5;
  const ExpectedArrays expected(std::string(kGolden) + "/" + GetParam() + ".safetensors");
  const json& first = fixture_["first"];

  ASSERT_TRUE(model_->Learn(Batch(0), 1).ok());

  for (const nn::PlannedTensor& tensor : model_->tensors()) {
    const absl::Span<const float> gradient = model_->Gradient(tensor.name);
    if (tensor.name.find("running_") != std::string::npos) continue;
    if (gradient.empty()) {  // of an expert that no token met
      for (const float value : expected["gradient." + tensor.name]) EXPECT_EQ(value, 0);
      continue;
    }
    EXPECT_LE(Distance(gradient, expected["gradient." + tensor.name]), kTolerance) << tensor.name;
  }
  const absl::StatusOr<StepFigures> figures = model_->Update(1);
  ASSERT_TRUE(figures.ok()) << figures.status();
  EXPECT_NEAR(figures->loss, first["loss"], kTolerance);
  EXPECT_NEAR(figures->gradient_norm, first["gradient_norm"], kTolerance);
  EXPECT_NEAR(figures->balance_loss, first.value("balance_loss", 0.0), kTolerance);
  EXPECT_NEAR(figures->z_loss, first.value("z_loss", 0.0), kTolerance * 10);
  for (const nn::PlannedTensor& tensor : model_->tensors()) {
    EXPECT_LE(Distance(model_->Values(tensor.name), expected["updated." + tensor.name]), kTolerance)
        << tensor.name;
  }
}

TEST_P(TrainingStepTest, FiftyStepsStayWithPyTorchs) {
  const std::vector<double> losses = fixture_["losses"];
  ASSERT_EQ(losses.size(), 50u);
  for (size_t step = 0; step < losses.size(); ++step) {
    ASSERT_TRUE(model_->Learn(Batch(step), 1).ok());
    const absl::StatusOr<StepFigures> figures = model_->Update(1);
    ASSERT_TRUE(figures.ok()) << figures.status();
    EXPECT_NEAR(figures->loss, losses[step], 1e-3) << "step " << step;
  }
}

INSTANTIATE_TEST_SUITE_P(All, TrainingStepTest, testing::ValuesIn(FixtureNames()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace peerage::train
