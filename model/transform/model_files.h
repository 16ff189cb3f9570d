#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/tokenizer/tokenizer_source.h"

namespace peerage::transform {

// A small file of a model directory.
struct TextFile {
  std::string name;
  std::string text;
};

// tokenizer.json and what else belongs to the tokenizer; a GGUF's is translated.
absl::StatusOr<std::vector<TextFile>> TokenizerFiles(const TokenizerSource& tokenizer);

// With the text of one JSON value, two blanks a level.
TextFile JsonFile(const std::string& name, const nlohmann::ordered_json& json);

absl::Status WriteTextFiles(const std::string& directory, const std::vector<TextFile>& files);

}  // namespace peerage::transform
