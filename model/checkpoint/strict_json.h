#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace peerage {

struct JsonLimits {
  int max_depth = 32;
  size_t max_values = 1'000'000;  // objects, arrays and scalars together
};

// Parses one JSON text (RFC 8259), more strictly than most: a duplicate key, a NUL byte, a
// byte-order mark, invalid UTF-8, or anything after the value is INVALID_ARGUMENT. Numbers keep
// their kind, so `1`, `1.0`, `1e0` and `-0` stay distinguishable.
absl::StatusOr<nlohmann::json> ParseStrictJson(absl::string_view text, JsonLimits limits = {});

}  // namespace peerage
