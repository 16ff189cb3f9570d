#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/checkpoint/container/random_access_file.h"
#include "model/checkpoint/container/stored_tensor.h"

namespace peerage {

struct SafetensorsShards {
  std::vector<std::unique_ptr<RandomAccessFile>> files;  // in the order of their names
  std::vector<StoredTensor> tensors;                     // `file` is an index into `files`
};

// Opens the weights of a model directory: the files that model.safetensors.index.json names, or
// the directory's only *.safetensors file. The index may name only files that lie in the directory
// itself, and must give every tensor of theirs its file and nothing else.
absl::StatusOr<SafetensorsShards> OpenSafetensorsShards(const std::string& directory);

// One .safetensors file as its only shard.
absl::StatusOr<SafetensorsShards> OpenSafetensorsFile(const std::string& path);

}  // namespace peerage
