#pragma once

#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"
#include "model/tokenizer/pre_tokenizer.h"

namespace peerage {

// Reads the "pre_tokenizer" of a tokenizer.json: ByteLevel, Split, Digits and Sequences of them.
// Exactly one ByteLevel is required, and last: without it, text would not be bytes.
absl::StatusOr<PreTokenizer> ReadPreTokenizer(const nlohmann::json& json);

}  // namespace peerage
