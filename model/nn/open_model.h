#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "model/checkpoint/checkpoint.h"
#include "model/nn/load_options.h"
#include "model/tokenizer/tokenizer.h"

namespace peerage::nn {

// A model's files, of which only the weights are still to be read.
struct OpenedModel {
  std::unique_ptr<Checkpoint> checkpoint;
  std::unique_ptr<Tokenizer> tokenizer;
};

// Reads everything about a model but its weights, and refuses what cannot be served: whoever loads
// a model and whoever only looks at one go through here, so that both refuse the same in the same
// words. Of `options` the device and what it holds count, not the size of the KV cache. Errors
// begin with the path.
absl::StatusOr<OpenedModel> OpenModel(const std::string& path, LoadOptions options);

}  // namespace peerage::nn
