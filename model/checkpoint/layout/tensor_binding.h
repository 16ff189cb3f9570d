#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/container/stored_tensor.h"
#include "model/checkpoint/layout/tensor_layout.h"

namespace peerage {

// A canonical tensor and what of the files it is made of.
struct BoundTensor {
  TensorInfo info;
  TensorRole role = TensorRole::kMatrix;
  TensorTransform transform;
  std::vector<StoredTensor> parts;  // of a weight's dtype, in the order of the spec's
};

// A stored head of a model whose head is its embedding.
struct TiedHead {
  StoredTensor embedding;
  StoredTensor head;
};

struct TensorBinding {
  std::vector<BoundTensor> tensors;   // in the layout's order
  std::vector<std::string> ignored;   // stored tensors that are not weights, by rule
  std::optional<TiedHead> tied_head;  // to be compared (tied_head.h); its head is among the ignored
};

// Whose names the tensors of a model directory have.
TensorNaming NamingOf(const ModelConfig& config, const std::vector<StoredTensor>& stored);

// Finds the stored tensors of every spec. A missing or surplus tensor, a wrong shape or a dtype
// that the role may not have is an error that names it. Precondition: stored names are unique.
absl::StatusOr<TensorBinding> BindTensors(const ModelConfig& config, TensorNaming naming,
                                          std::vector<StoredTensor> stored);

}  // namespace peerage
