#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace peerage::transform {

// Whether the disk has room for so many bytes where `path` is, or will be. RESOURCE_EXHAUSTED says
// how many are missing.
absl::Status CheckFreeSpace(const std::string& path, uint64_t bytes);

}  // namespace peerage::transform
