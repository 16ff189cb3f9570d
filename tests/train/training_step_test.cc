// Steps of training beside PyTorch's own, for each kind of layer (make_train_golden.py).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
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
          .routing = o.value("routing", "served") == "soft" ? LearningRouting::kSoft
                                                            : LearningRouting::kServed,
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
    config_ = *config;
    model_ = MakeModel(OptimizerOf(fixture_));
  }

  std::unique_ptr<LearningModel> MakeModel(const OptimizerSection& optimizer) const {
    const auto learning = SelectTensors(nn::PlanModel(config_).Tensors(), {}, optimizer);
    EXPECT_TRUE(learning.ok()) << learning.status();
    auto model = LearningModel::Make(config_, *learning, {.optimizer = optimizer});
    EXPECT_TRUE(model.ok()) << model.status();
    EXPECT_EQ((*model)->tensors().size(), fixture_["tensors"].size());
    for (const json& tensor : fixture_["tensors"]) Fill(**model, tensor[0], tensor[2]);
    return *std::move(model);
  }

  void Fill(LearningModel& model, const std::string& name, const json& exponent) const {
    std::optional<int> power;
    if (!exponent.is_null()) power = exponent.get<int>();
    const absl::Span<float> values = model.Values(name);
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
  ModelConfig config_;
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

// What the moments of a tensor are, or a weight's values.
std::vector<float> StateOf(LearningModel& model, const std::string& name) {
  for (const LearningModel::StateTensor& tensor : model.State()) {
    if (tensor.name == name) return {tensor.values.begin(), tensor.values.end()};
  }
  ADD_FAILURE() << "no " << name;
  return {};
}

// Two steps that change picked rows alone, in two parts each, beside steps that change all rows.
TEST_P(TrainingStepTest, PickedRowsChangeAsAllDoAndTheOthersStay) {
  OptimizerSection optimizer = OptimizerOf(fixture_);
  optimizer.clip = 0.5;
  ASSERT_GT(optimizer.weight_decay, 0);
  const std::unique_ptr<LearningModel> all = MakeModel(optimizer);
  optimizer.rows = TableRows::kPicked;
  const std::unique_ptr<LearningModel> picked = MakeModel(optimizer);
  for (LearningModel* model : {all.get(), picked.get()}) {
    ASSERT_TRUE(model->Learn(Batch(0), 2).ok());
    ASSERT_TRUE(model->Learn(Batch(1), 2).ok());
  }
  // The rows of each table that have a gradient.
  std::map<std::string, std::vector<bool>> has_gradient;
  std::map<std::string, std::vector<float>> before;
  for (const nn::PlannedTensor& tensor : all->tensors()) {
    if (tensor.role != nn::TensorRole::kTable) continue;
    before[tensor.name] = StateOf(*picked, tensor.name);
    std::vector<bool>& rows = has_gradient[tensor.name];
    const absl::Span<const float> gradient = all->Gradient(tensor.name);
    EXPECT_TRUE(picked->Gradient(tensor.name).empty());
    for (int64_t r = 0; r < tensor.shape[0]; ++r) {
      const auto row = gradient.subspan(r * tensor.shape[1], tensor.shape[1]);
      rows.push_back(std::any_of(row.begin(), row.end(), [](float g) { return g != 0; }));
    }
  }

  const absl::StatusOr<StepFigures> expected = all->Update(1), figures = picked->Update(1);

  ASSERT_TRUE(expected.ok() && figures.ok());
  EXPECT_NEAR(figures->gradient_norm, expected->gradient_norm, 1e-6 * expected->gradient_norm);
  for (const nn::PlannedTensor& tensor : all->tensors()) {
    const absl::Span<const float> values = picked->Values(tensor.name);
    if (tensor.role != nn::TensorRole::kTable) {
      EXPECT_LE(Distance(values, StateOf(*all, tensor.name)), 1e-6) << tensor.name;
      continue;
    }
    const std::vector<float> of_all = StateOf(*all, tensor.name);
    for (size_t i = 0; i < of_all.size(); ++i) {
      const bool changes = has_gradient[tensor.name][i / tensor.shape[1]];
      EXPECT_NEAR(values[i], changes ? of_all[i] : before[tensor.name][i], 2e-6)
          << tensor.name << " " << i;
    }
  }
}

TEST_P(TrainingStepTest, ARowsVarianceIsItsMeanSquare) {
  OptimizerSection optimizer = OptimizerOf(fixture_);
  optimizer.rows = TableRows::kPicked;
  const std::unique_ptr<LearningModel> of_elements = MakeModel(optimizer);
  optimizer.variance = Variance::kRow;
  const std::unique_ptr<LearningModel> of_rows = MakeModel(optimizer);
  for (LearningModel* model : {of_elements.get(), of_rows.get()}) {
    ASSERT_TRUE(model->Learn(Batch(0), 1).ok());
    ASSERT_TRUE(model->Update(1).ok());
  }
  for (const nn::PlannedTensor& tensor : of_rows->tensors()) {
    if (tensor.role != nn::TensorRole::kTable) continue;
    const std::vector<float> elements = StateOf(*of_elements, "second." + tensor.name);
    const std::vector<float> rows = StateOf(*of_rows, "second." + tensor.name);
    ASSERT_EQ(static_cast<int64_t>(rows.size()), tensor.shape[0]);
    for (size_t r = 0; r < rows.size(); ++r) {
      double sum = 0;
      for (int64_t c = 0; c < tensor.shape[1]; ++c) sum += elements[r * tensor.shape[1] + c];
      const double mean = sum / static_cast<double>(tensor.shape[1]);
      EXPECT_NEAR(rows[r], mean, 1e-6 * mean) << tensor.name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, TrainingStepTest, testing::ValuesIn(FixtureNames()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace peerage::train
