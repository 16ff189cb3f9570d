#pragma once

#include "absl/status/statusor.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/container/gguf_metadata.h"

namespace peerage::transform {

// The keys of a GGUF file of the `llama` architecture: sizes, and the tokenizer's fields. What they
// cannot say (another activation than SiLU, more than three ends of a text) is an error.
// Precondition: the model is dense, with the block and norms of llama.
absl::StatusOr<GgufMetadata> GgufKeysOf(const Checkpoint& checkpoint, bool has_quantized_tensors);

}  // namespace peerage::transform
