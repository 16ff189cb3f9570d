#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/config/model_config.h"
#include "model/tensor_type.h"

namespace peerage::transform {

// What a model directory holds beside its weights, each from where the user says: config.json and
// the tokenizer's files.
struct ModelParts {
  std::filesystem::path config_file;  // empty: none
  std::vector<std::filesystem::path> tokenizer_files;
  // What config_file says, where it is a config that the server takes.
  std::optional<ModelConfig> config;
  // Whether it says what the new tensors must be: it was named, or is of `model_type: "peerage"`.
  bool config_decides = false;
};

// `from`: the source; its own files count, if it is a directory, where `config` (a file or a
// directory) and `tokenizer` (a directory) are empty. A part that was named and is not there, or a
// named config that the server would refuse, is an error.
absl::StatusOr<ModelParts> FindModelParts(const std::string& from, const std::string& config,
                                          const std::string& tokenizer);

// Copies them; config.json says the dtype, if there is one. Returns the names.
absl::StatusOr<std::vector<std::string>> CopyModelParts(const ModelParts& parts,
                                                        const std::filesystem::path& to,
                                                        std::optional<TensorType> dtype);

}  // namespace peerage::transform
