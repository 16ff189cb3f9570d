#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/config/model_config.h"
#include "model/nn/plan/model_plan.h"
#include "model/tokenizer/tokenizer.h"

namespace peerage::transform {

// Tensors of one purpose in all layers.
struct PartSize {
  std::string part;  // "embedding", "attention", "peer_experts", ...
  uint64_t parameters = 0;
  uint64_t bytes = 0;  // as stored; 0 of a bare config
};

// Tensors that are stored alike.
struct DtypeSize {
  std::string dtype;  // "bf16", "q4_1", ...
  uint64_t tensors = 0;
  uint64_t bytes = 0;
};

// What a model's files say about it, without its weights.
struct Inspection {
  ModelConfig config;
  std::unique_ptr<Tokenizer> tokenizer;  // null of a bare config
  nn::ModelPlan plan;
  bool has_weights = false;         // whether there are files with weights, or only a config
  std::vector<PartSize> parts;      // in the order a token meets them
  std::vector<DtypeSize> dtypes;    // the most bytes first
  uint64_t kv_bytes_per_token = 0;  // in f32, as the CPU's cache has it
  int64_t context = 0;              // positions before the token whose FLOPs are told
};

// Looks at a model directory, a .gguf file, or a file ending in .json as a config.json on its own.
// Reads headers, configuration and tokenizer only. Errors name the file and the key or tensor; what
// the server would refuse before it reads weights is refused in its words (nn/open_model.h).
absl::StatusOr<Inspection> Inspect(const std::string& path, int64_t context);

}  // namespace peerage::transform
