#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace peerage {

// A file that is written front to back and has its name only when it is complete: until Finish it
// is `path`.partial, which is removed when the object goes without it.
class NewFile {
 public:
  // A file of that name must not exist.
  static absl::StatusOr<std::unique_ptr<NewFile>> Create(const std::string& path);

  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;
  ~NewFile();

  const std::string& path() const { return path_; }

  absl::Status Append(absl::Span<const uint8_t> bytes);
  absl::Status Append(absl::string_view text);

  // Makes the file durable and gives it its name.
  absl::Status Finish();

 private:
  NewFile(const std::string& path, int descriptor);

  const std::string path_;
  const std::string partial_path_;
  int descriptor_;
  bool finished_ = false;
};

// A small file at once.
absl::Status WriteNewFile(const std::string& path, absl::string_view text);

}  // namespace peerage
