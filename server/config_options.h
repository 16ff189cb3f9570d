#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "server/config.h"

namespace peerage {

// One option of the server under its three spellings: --max-sequences, PEERAGE_MAX_SEQUENCES and
// the TOML key max-sequences.
struct ConfigOption {
  absl::string_view name;
  absl::string_view value_name;  // in --help
  absl::string_view description;
  // Checks the range and stores the value; the error does not repeat the option's name.
  absl::Status (*set)(absl::string_view value, ServerConfig* config);
  std::string (*to_toml)(const ServerConfig& config);
};

// All of them, in the order of --help and --print-config.
absl::Span<const ConfigOption> ConfigOptions();

}  // namespace peerage
