#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"

namespace peerage::train {

// A value of a TOML file and the line where it stands.
struct TomlValue {
  using Array = std::vector<TomlValue>;
  using Table = std::map<std::string, TomlValue>;

  int line = 0;
  std::variant<bool, int64_t, double, std::string, Array, Table> value;
};

// Reads a TOML file (toml.io, version 1.0); what comes back is its table. Dates and times, which
// nothing here takes, are refused. Errors begin with file and line.
absl::StatusOr<TomlValue> ReadTomlFile(const std::string& path);

}  // namespace peerage::train
