#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "model/checkpoint/container/stored_weights.h"

namespace peerage {

// Opens the weights of a model directory: the files that model.safetensors.index.json names, or
// the directory's only *.safetensors file; where there are none, the files that
// pytorch_model.bin.index.json names, pytorch_model.bin, or the only *.pt, *.pth or *.bin file. An
// index may name only files of the directory itself (which may be links: Hugging Face's cache keeps
// the bytes elsewhere), and must give every tensor of theirs its file and nothing else.
absl::StatusOr<StoredWeights> OpenWeightShards(const std::string& directory,
                                               const StoredWeightsOptions& options = {});

}  // namespace peerage
