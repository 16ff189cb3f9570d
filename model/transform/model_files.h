#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/status.h"
#include "model/tokenizer/tokenizer_source.h"

namespace peerage::transform {

// Makes the directory where there is none. One that has a model's files already is an error.
absl::Status MakeModelDirectory(const std::string& path);

// Writes tokenizer.json and what else belongs to the tokenizer; a GGUF's is translated.
absl::Status WriteTokenizerFiles(const std::string& directory, const TokenizerSource& tokenizer);

// Writes the text of one JSON value, two blanks a level.
absl::Status WriteJsonFile(const std::string& path, const nlohmann::ordered_json& json);

}  // namespace peerage::transform
