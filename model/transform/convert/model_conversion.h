#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "model/tensor_type.h"
#include "model/transform/progress.h"

namespace peerage::transform {

struct ModelConversionOptions {
  std::string from;  // a dense model: a directory or a .gguf file
  std::string out;   // a name ending in .gguf, or a directory; made when it is not there
  // Of directories F32, BF16 or F16, of GGUF files also Q8_0 and Q4_1; absent: each tensor keeps
  // its own where the format has it.
  std::optional<TensorType> dtype;
  bool force = false;  // replace what an earlier conversion wrote into the directory `out`
  ProgressFunction progress;
};

struct ModelConversionReport {
  size_t tensors = 0;  // written
  uint64_t bytes = 0;
};

// Writes a whole model in another format: a directory under the names of Hugging Face's llama, with
// config.json and tokenizer, or a GGUF file of the `llama` architecture, whose query and key rows
// are in the order of its rotation. Tensors whose dtype stays are the same bits.
//
// In a GGUF file norms are F32, as other readers want them; with Q8_0 and Q4_1 embedding and head
// are Q8_0, and rows that are no multiple of 32 long stay F32. Reads a few MiB of a tensor at a
// time, of permuted ones the whole. A model, a dtype or a tokenizer that the format does not have,
// a value that the dtype does not hold and an output that is there already are errors, which leave
// nothing behind.
absl::StatusOr<ModelConversionReport> ConvertModel(const ModelConversionOptions& options);

}  // namespace peerage::transform
