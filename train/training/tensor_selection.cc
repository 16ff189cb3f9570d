#include "train/training/tensor_selection.h"

#include <algorithm>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "train/config/tensor_pattern.h"

namespace peerage::train {
namespace {

// Whether each tensor matches one of the patterns. `key`: where the patterns stand.
absl::StatusOr<std::vector<bool>> Matching(const std::vector<nn::PlannedTensor>& tensors,
                                           const Patterns& patterns, const std::string& key) {
  std::vector<bool> matching(tensors.size(), false);
  for (const std::string& text : patterns) {
    ASSIGN_OR_RETURN(const TensorPattern pattern, TensorPattern::Parse(text));
    bool any = false;
    for (size_t i = 0; i < tensors.size(); ++i) {
      if (!pattern.Matches(tensors[i].name)) continue;
      matching[i] = any = true;
    }
    if (!any) {
      return absl::InvalidArgumentError(absl::StrCat(key, ": ", Quoted(text),
                                                     " matches no tensor of the model, such as ",
                                                     tensors.front().name));
    }
  }
  return matching;
}

// The constant experts of a mixture are planned beside its router, and decide nothing.
bool IsRouter(const nn::PlannedTensor& tensor) {
  if (absl::StrContains(tensor.name, ".constants.")) return false;
  return tensor.role == nn::TensorRole::kRouter || tensor.role == nn::TensorRole::kVariance;
}

}  // namespace

absl::StatusOr<std::vector<TensorLearning>> SelectTensors(
    const std::vector<nn::PlannedTensor>& tensors, const ModelSection& model,
    const OptimizerSection& optimizer) {
  ASSIGN_OR_RETURN(const std::vector<bool> trained, Matching(tensors, model.train, "model.train"));
  ASSIGN_OR_RETURN(const std::vector<bool> frozen, Matching(tensors, model.freeze, "model.freeze"));
  std::vector<TensorLearning> learning;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const bool chosen = model.train.empty() || trained[i];
    const bool decays = tensors[i].shape.size() >= 2 && !absl::EndsWith(tensors[i].name, ".bias");
    learning.push_back(
        {.changes = chosen && !frozen[i] && (!model.routers_only || IsRouter(tensors[i])),
         .learning_rate = optimizer.learning_rate,
         .weight_decay = decays ? optimizer.weight_decay : 0});
  }
  // The first group that matches counts, so it is the last one that is set.
  for (size_t g = optimizer.groups.size(); g > 0; --g) {
    const OptimizerGroup& group = optimizer.groups[g - 1];
    ASSIGN_OR_RETURN(
        const std::vector<bool> in_group,
        Matching(tensors, group.tensors, absl::StrCat("optimizer.group[", g - 1, "]")));
    for (size_t i = 0; i < tensors.size(); ++i) {
      if (!in_group[i]) continue;
      learning[i].learning_rate = group.learning_rate.value_or(optimizer.learning_rate);
      if (group.weight_decay.has_value()) learning[i].weight_decay = *group.weight_decay;
    }
  }
  const auto changes = [](const TensorLearning& tensor) { return tensor.changes; };
  if (std::none_of(learning.begin(), learning.end(), changes)) {
    return absl::InvalidArgumentError(
        model.routers_only ? "--routers-only: the model has no router that is not frozen"
                           : "model.freeze: nothing is left to train");
  }
  return learning;
}

}  // namespace peerage::train
