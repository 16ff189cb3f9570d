#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/stored_tensor.h"
#include "model/checkpoint/tensor_layout.h"

namespace peerage {

// A canonical tensor and where its bytes are.
struct BoundTensor {
  TensorInfo info;
  int file = 0;
  uint64_t offset = 0;
  int interleaved_heads = 0;  // as in TensorSpec
};

struct TensorBinding {
  std::vector<BoundTensor> tensors;  // in the layout's order
  std::vector<std::string> ignored;  // stored tensors that are not weights, by rule
};

// Finds the stored tensor of every spec. A missing or surplus tensor, a wrong shape or a dtype that
// the role may not have is an error that names it. Of `llama` files two kinds of surplus tensors
// are ignored: rotary_emb.inv_freq (a buffer of old versions), and the head of a model that says
// it is tied. Precondition: stored names are unique.
absl::StatusOr<TensorBinding> BindTensors(const ModelConfig& config, TensorNaming naming,
                                          std::vector<StoredTensor> stored);

}  // namespace peerage
