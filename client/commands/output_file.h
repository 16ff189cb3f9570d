#pragma once

#include <string>

#include "absl/status/status.h"

namespace peerage::client {

// Writes a whole file, or adds to its end. UNAVAILABLE names the file.
enum class WriteMode { kReplace, kAppend };
absl::Status WriteFile(const std::string& path, const std::string& bytes,
                       WriteMode mode = WriteMode::kReplace);

}  // namespace peerage::client
