#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/checkpoint/container/gguf_metadata.h"
#include "model/checkpoint/container/new_file.h"
#include "model/tensor_type.h"

namespace peerage {

// A tensor of a GGUF file that is to be written.
struct GgufEntry {
  std::string name;
  TensorType type = TensorType::kF32;
  std::vector<int64_t> shape;  // row-major
  uint64_t bytes = 0;
};

// Writes one .gguf file (version 3) front to back: keys and tensor table first, then each tensor's
// bytes in the order of the plan. The file has its name only when it is complete (new_file.h).
class GgufWriter {
 public:
  // A file of that name must not exist. Preconditions: names differ from each other, bytes are what
  // type and shape need, and metadata has no general.alignment.
  static absl::StatusOr<std::unique_ptr<GgufWriter>> Create(const std::string& path,
                                                            const GgufMetadata& metadata,
                                                            std::vector<GgufEntry> plan);

  // The next bytes of the data, without padding, of any number.
  absl::Status Append(absl::Span<const uint8_t> bytes);

  // Makes the file durable and gives it its name. Fewer or more bytes than planned are an error.
  absl::Status Finish();

 private:
  GgufWriter(std::unique_ptr<NewFile> file, std::vector<GgufEntry> plan)
      : file_(std::move(file)), plan_(std::move(plan)) {}

  // Ends every tensor that is complete with its padding.
  absl::Status PadComplete();

  const std::unique_ptr<NewFile> file_;
  const std::vector<GgufEntry> plan_;
  size_t tensor_ = 0;     // index of the one that is being written
  uint64_t written_ = 0;  // bytes of it
};

}  // namespace peerage
