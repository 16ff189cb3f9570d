#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "model/checkpoint/container/gguf_metadata.h"
#include "model/checkpoint/container/random_access_file.h"
#include "model/checkpoint/container/stored_tensor.h"

namespace peerage {

// What one .gguf file holds (version 2 or 3, little endian).
struct GgufContents {
  GgufMetadata metadata;
  std::vector<StoredTensor> tensors;  // shapes row-major: the file's dimensions, reversed
};

// Reads everything before the tensor data and proves it against the file's size. An error names
// the file and the key or tensor. Format: github.com/ggml-org/ggml, docs/gguf.md. Limits: 65,536
// tensors and as many keys, 1 MiB a string, 4 Mi elements an array, 256 MiB before the data.
absl::StatusOr<GgufContents> ReadGguf(const RandomAccessFile& file);

}  // namespace peerage
