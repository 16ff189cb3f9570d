#include "train/training/tensor_selection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace peerage::train {
namespace {

using nn::TensorRole;

const std::vector<nn::PlannedTensor> kTensors = {
    {"model.embed_tokens.weight", {8, 4}},
    {"model.layers.0.input_norm.weight", {4}, TensorRole::kNorm},
    {"model.layers.0.ffn.peer.query.weight", {4, 4}, TensorRole::kRouter},
    {"model.layers.0.ffn.peer.down.weight", {9, 4}, TensorRole::kTable},
    {"model.layers.1.ffn.peer.router.bias", {2, 2, 3}, TensorRole::kRouter},
    {"model.layers.2.ffn.mixture.constants.0.vector", {4}, TensorRole::kRouter},
};

constexpr OptimizerSection kOptimizer = {.learning_rate = 0.5, .weight_decay = 0.25};

TEST(TensorSelectionTest, OnlyMatricesDecay) {
  const auto learning = SelectTensors(kTensors, {}, kOptimizer);
  ASSERT_TRUE(learning.ok()) << learning.status();
  EXPECT_EQ((*learning)[0].weight_decay, 0.25);
  EXPECT_EQ((*learning)[1].weight_decay, 0);
  EXPECT_EQ((*learning)[3].learning_rate, 0.5);
  EXPECT_EQ((*learning)[4].weight_decay, 0) << "a bias, whatever its shape";
}

TEST(TensorSelectionTest, TheFirstGroupThatMatchesCounts) {
  OptimizerSection optimizer = kOptimizer;
  optimizer.groups = {{.tensors = {"**.query.weight"}, .learning_rate = 0.1},
                      {.tensors = {"**.peer.**"}, .learning_rate = 0.2, .weight_decay = 0.0}};
  const auto learning = SelectTensors(kTensors, {}, optimizer);
  ASSERT_TRUE(learning.ok()) << learning.status();
  EXPECT_EQ((*learning)[0].learning_rate, 0.5);
  EXPECT_EQ((*learning)[2].learning_rate, 0.1);
  EXPECT_EQ((*learning)[3].learning_rate, 0.2);
  EXPECT_EQ((*learning)[3].weight_decay, 0);
}

std::vector<bool> Changing(const ModelSection& model) {
  const auto learning = SelectTensors(kTensors, model, kOptimizer);
  EXPECT_TRUE(learning.ok()) << learning.status();
  std::vector<bool> changing;
  for (const TensorLearning& tensor : *learning) changing.push_back(tensor.changes);
  return changing;
}

TEST(TensorSelectionTest, TrainsWhatItIsTold) {
  using testing::ElementsAre;
  EXPECT_THAT(Changing({}), ElementsAre(true, true, true, true, true, true));
  EXPECT_THAT(Changing({.freeze = {"model.embed_tokens.*"}}),
              ElementsAre(false, true, true, true, true, true));
  EXPECT_THAT(Changing({.train = {"**.peer.**"}, .freeze = {"**.down.weight"}}),
              ElementsAre(false, false, true, false, true, false));
  EXPECT_THAT(Changing({.routers_only = true}),
              ElementsAre(false, false, true, false, true, false));
}

TEST(TensorSelectionTest, AModelWithoutRoutersHasNoneToTrain) {
  const std::vector<nn::PlannedTensor> dense(kTensors.begin(), kTensors.begin() + 2);
  EXPECT_EQ(
      std::string(SelectTensors(dense, {.routers_only = true}, kOptimizer).status().message()),
      "--routers-only: the model has no router that is not frozen");
}

}  // namespace
}  // namespace peerage::train
