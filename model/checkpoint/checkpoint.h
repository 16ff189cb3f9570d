#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/config/model_config.h"
#include "model/tensor_type.h"
#include "model/tokenizer/tokenizer_source.h"

namespace peerage {

struct TensorInfo {
  std::string name;
  TensorType type = TensorType::kF32;
  std::vector<int64_t> shape;  // row-major; a matrix is [out, in]
  uint64_t bytes = 0;
};

// The weights of one model under the canonical names and orders of `model_type: "peerage"`
// (docs/model_format.md), whatever the files call them: a GGUF's permuted query and key rows
// arrive in their original order.
//
// Threads: Read may be called from several threads at once.
class Checkpoint {
 public:
  virtual ~Checkpoint() = default;

  virtual const ModelConfig& config() const = 0;
  virtual const TokenizerSource& tokenizer() const = 0;

  // Every tensor that the config asks for, with its exact shape; nothing is missing or surplus.
  virtual absl::Span<const TensorInfo> tensors() const = 0;

  // nullptr when the model has no such tensor.
  virtual const TensorInfo* Find(absl::string_view name) const = 0;

  // Reads a tensor's bytes. Precondition: bytes.size() == tensor.bytes. A NaN or an infinity in a
  // tensor that decides which experts are met (query, query norm, sub-keys, router) is an error
  // that names it, here and in ReadRows.
  virtual absl::Status Read(const TensorInfo& tensor, absl::Span<uint8_t> bytes) const = 0;

  // Reads rows [first, first + n) along the first dimension, where n follows from bytes.size(): for
  // tables that are larger than what may be held beside the weights.
  virtual absl::Status ReadRows(const TensorInfo& tensor, int64_t first,
                                absl::Span<uint8_t> bytes) const = 0;

  // SHA-256 over the bytes of the weight files, shards in name order, hex; of PyTorch files then
  // over the tensors that do not lie row by row, as they are read. Reads all of them.
  virtual absl::StatusOr<std::string> Fingerprint() const = 0;

  // Keys and tensors that were ignored by rule, for one log line.
  virtual absl::Span<const std::string> ignored() const = 0;
};

// Opens a model directory or a .gguf file. Errors name the file and the key or tensor.
absl::StatusOr<std::unique_ptr<Checkpoint>> OpenCheckpoint(const std::string& path);

}  // namespace peerage
