#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/checkpoint/container/pytorch.h"
#include "model/checkpoint/container/random_access_file.h"
#include "model/checkpoint/container/stored_tensor.h"

namespace peerage {

// Tensors with the files that hold their bytes, of whatever format.
struct StoredWeights {
  std::string format;  // "safetensors", "gguf", "pytorch"
  // In the order of their names; behind them, views of tensors that lie in another order there.
  std::vector<std::unique_ptr<RandomAccessFile>> files;
  std::vector<StoredTensor> tensors;       // `file` is an index into `files`
  std::optional<TensorDictChoice> choice;  // of a single PyTorch file
};

struct StoredWeightsOptions {
  std::string key;  // of the PyTorch dict to take; empty: the one with the most bytes of tensors
};

// Opens one file of weights, in the format that its first bytes tell: safetensors, GGUF, or what
// torch.save writes. A key for a file that has no dicts is an error.
absl::StatusOr<StoredWeights> OpenWeightFile(const std::string& path,
                                             const StoredWeightsOptions& options = {});

// A file, or the weights of a model directory (weight_shards.h).
absl::StatusOr<StoredWeights> OpenWeights(const std::string& path,
                                          const StoredWeightsOptions& options = {});

}  // namespace peerage
