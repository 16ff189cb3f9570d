#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace peerage {

// What a NumPy file (format 1.0) has in front of its values, in row-major order: `descr` and
// `shape` are Python literals, as in "'<f8'" and "(2, 3)".
std::string NpyHeader(absl::string_view descr, absl::string_view shape);

}  // namespace peerage
