#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/checkpoint/container/new_file.h"

namespace peerage {

// A tensor of a file that is to be written.
struct SafetensorsEntry {
  std::string name;
  std::string dtype;  // the format's word: "F32", "BF16", "I64", ...
  std::vector<int64_t> shape;
  uint64_t bytes = 0;
};

// Writes one .safetensors file front to back: the whole header first, then each tensor's bytes in
// the order of the plan. The file has its name only when it is complete (new_file.h).
class SafetensorsWriter {
 public:
  // A file of that name must not exist. Preconditions: names differ from each other, and bytes are
  // what dtype and shape need.
  static absl::StatusOr<std::unique_ptr<SafetensorsWriter>> Create(
      const std::string& path, const std::vector<SafetensorsEntry>& plan);

  // The next bytes of the data, of any number.
  absl::Status Append(absl::Span<const uint8_t> bytes);

  // Makes the file durable and gives it its name. Fewer or more bytes than planned are an error.
  absl::Status Finish();

 private:
  SafetensorsWriter(std::unique_ptr<NewFile> file, uint64_t planned_bytes)
      : file_(std::move(file)), planned_bytes_(planned_bytes) {}

  const std::unique_ptr<NewFile> file_;
  const uint64_t planned_bytes_;
  uint64_t written_bytes_ = 0;  // of the data
};

}  // namespace peerage
