#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/checkpoint/container/random_access_file.h"
#include "model/checkpoint/container/stored_tensor.h"

namespace peerage {

// What one .safetensors file holds.
struct SafetensorsContents {
  std::vector<StoredTensor> tensors;  // in the order of their bytes
  std::map<std::string, std::string> metadata;
};

struct SafetensorsLimits {
  uint64_t max_header_bytes = uint64_t{16} << 20;
  size_t max_tensors = 65'536;
};

// Reads the header of a .safetensors file and proves it against the file's size: every byte of the
// data belongs to exactly one tensor, and every tensor has the bytes that its shape asks for. An
// error names the file and the tensor. Format: github.com/huggingface/safetensors; where it leaves
// room (duplicate keys, 1.0 for 1) this reader refuses.
absl::StatusOr<SafetensorsContents> ReadSafetensors(const RandomAccessFile& file,
                                                    const SafetensorsLimits& limits = {});

}  // namespace peerage
