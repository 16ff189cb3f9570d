#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/statusor.h"
#include "peerage/v1/inference.pb.h"

namespace peerage::client {

// What lines of JSONL say that a model is to read. Errors are INVALID_ARGUMENT and name the key.

// A text, or a list of token ids.
absl::StatusOr<v1::Prompt> PromptOfJson(const std::string& key, const nlohmann::json& value);
absl::StatusOr<v1::Continuation> ContinuationOfJson(const std::string& key,
                                                    const nlohmann::json& value);

// A conversation: [{"role": "user", "content": "Hello"}].
absl::StatusOr<v1::Chat> ChatOfJson(const nlohmann::json& messages);

}  // namespace peerage::client
