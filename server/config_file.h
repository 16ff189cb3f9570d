#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace peerage {

struct ConfigFileEntry {
  std::string key;
  std::string value;  // a string's content, or a number or boolean as written
  int line = 0;
};

// Reads the part of TOML that a flat configuration needs: comments and `key = value`, where a value
// is a basic or literal string on one line, a number or a boolean. Everything else (tables, arrays,
// dates, multi-line strings, other escapes than \" and \\) is refused with its line number, and so
// is a key that is written twice.
absl::StatusOr<std::vector<ConfigFileEntry>> ParseConfigFile(absl::string_view text);

// `text` as a TOML basic string.
std::string QuoteToml(absl::string_view text);

}  // namespace peerage
