#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace peerage {

// Writes a small file that must not be there yet; one that cannot be written whole is removed.
absl::Status WriteNewFile(const std::string& path, absl::string_view text);

}  // namespace peerage
