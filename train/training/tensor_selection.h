#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "model/nn/plan/part.h"
#include "train/config/run_config.h"
#include "train/network/learning_model.h"

namespace peerage::train {

// How each tensor is learnt: what [model] freezes, and the learning rates and decays of
// [optimizer]. A pattern that matches no tensor is an error, and so is a run that trains nothing.
absl::StatusOr<std::vector<TensorLearning>> SelectTensors(
    const std::vector<nn::PlannedTensor>& tensors, const ModelSection& model,
    const OptimizerSection& optimizer);

}  // namespace peerage::train
