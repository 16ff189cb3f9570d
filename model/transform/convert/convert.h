#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/checkpoint/container/stored_weights.h"
#include "model/tensor_type.h"
#include "model/transform/convert/name_mapping.h"
#include "model/transform/convert/renamed_tensors.h"
#include "model/transform/progress.h"

namespace peerage::transform {

struct ConvertOptions {
  std::string from;                 // weights in a directory or in one file (stored_weights.h)
  std::string key;                  // of a PyTorch file: the dict to take (stored_weights.h)
  std::string out;                  // a directory; made when it is not there
  std::string config;               // file or directory of config.json; empty: that of `from`
  std::string tokenizer;            // directory of its files; empty: `from`
  std::optional<TensorType> dtype;  // F32, F16 or BF16; absent: each keeps its own, F64 becomes F32
  std::optional<NameMapping> names;  // absent: each tensor keeps its own
  bool drop_unmatched = false;       // leave out what no pattern matches
  bool force = false;                // replace what an earlier conversion wrote into `out`
  ProgressFunction progress = {};
};

struct ConvertReport {
  size_t tensors = 0;  // written
  uint64_t bytes = 0;
  size_t doubles = 0;   // of them that were F64
  absl::Status misfit;  // of the new names with a config.json that does not decide (model_parts.h)
  std::vector<std::string> unused_patterns;  // in the order of their file
  std::vector<std::string> unmatched;        // tensors; in the order of their names
  std::vector<std::string> copied_files;
  std::vector<TiedTensor> tied;            // not written; in the order of the file
  std::optional<TensorDictChoice> choice;  // of a PyTorch file
};

// Writes the tensors under their new names, in the order of these, to out/model.safetensors (or
// shards of it: safetensors_shards_writer.h), and copies what else a model directory holds
// (configuration, tokenizer); the dtype that config.json names becomes the new one. Reads a few MiB
// at a time. New names are checked against the config that was named, or one of `model_type:
// "peerage"`, before anything is written: what does not fit, or a head that differs from the
// embedding that it is tied to, is an error.
// Tensors of a PyTorch file that are the same memory are written once, under the new name of the
// first. Tensors of no weight's dtype (counters) keep theirs. Two tensors of one new name, a value
// beyond the new dtype's range and a directory with a model's files are errors; they name file and
// tensor, and leave nothing behind (new_model_directory.h).
absl::StatusOr<ConvertReport> Convert(const ConvertOptions& options);

}  // namespace peerage::transform
