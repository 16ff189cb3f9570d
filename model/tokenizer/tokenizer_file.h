#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace peerage {

// A tokenizer.json. Its two long lists never become JSON values, which would be most of the time
// that loading a tokenizer takes.
struct TokenizerFile {
  nlohmann::json json;  // with empty model.vocab and model.merges where these are of the right type
  std::vector<std::pair<std::string, uint64_t>> vocab;
  std::vector<std::pair<std::string, std::string>> merges;
};

// INVALID_ARGUMENT for text that is not strict JSON, ids that are not natural numbers, and merges
// that are neither "left right" nor ["left", "right"].
absl::StatusOr<TokenizerFile> ParseTokenizerFile(absl::string_view text);

}  // namespace peerage
