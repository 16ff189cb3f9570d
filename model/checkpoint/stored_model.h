#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/checkpoint/container/random_access_file.h"
#include "model/checkpoint/layout/tensor_binding.h"
#include "model/config/model_config.h"
#include "model/tokenizer/tokenizer_source.h"

namespace peerage {

// Everything that the files of a model say, read and checked; only the weights are still on disk.
struct StoredModel {
  ModelConfig config;
  TokenizerSource tokenizer;
  std::vector<std::unique_ptr<RandomAccessFile>> weight_files;  // in the order of their names
  std::vector<BoundTensor> tensors;
  std::vector<std::string> ignored;
};

// A directory in Hugging Face's layout: config.json, *.safetensors, tokenizer.json (or vocab.json
// and merges.txt, read as the tokenizer.json that they stand for) and, where there are any,
// tokenizer_config.json, chat_template.jinja and generation_config.json.
absl::StatusOr<StoredModel> ReadModelDirectory(const std::string& path);

// The tokenizer's files in such a directory.
absl::StatusOr<HuggingFaceTokenizer> ReadTokenizerFiles(const std::string& path);

// A .gguf file.
absl::StatusOr<StoredModel> ReadGgufModel(const std::string& path);

}  // namespace peerage
