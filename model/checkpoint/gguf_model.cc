#include <utility>

#include "base/error_text.h"
#include "base/status_macros.h"
#include "model/checkpoint/config/gguf_config.h"
#include "model/checkpoint/config/gguf_tokenizer_keys.h"
#include "model/checkpoint/container/gguf.h"
#include "model/checkpoint/stored_model.h"

namespace peerage {
namespace {

absl::StatusOr<StoredModel> ReadModel(std::unique_ptr<RandomAccessFile> file) {
  ASSIGN_OR_RETURN(GgufContents contents, ReadGguf(*file));
  StoredModel model;
  ASSIGN_OR_RETURN(model.config, ParseGgufConfig(contents));
  ASSIGN_OR_RETURN(GgufTokenizer tokenizer,
                   ReadGgufTokenizer(std::move(contents.metadata), model.config.vocab_size));
  ASSIGN_OR_RETURN(TensorBinding binding,
                   BindTensors(model.config, TensorNaming::kGguf, std::move(contents.tensors)));
  model.tokenizer.gguf = std::move(tokenizer);
  model.tokenizer.vocab_size = model.config.vocab_size;
  model.weight_files.push_back(std::move(file));
  model.tensors = std::move(binding.tensors);
  model.ignored = std::move(binding.ignored);
  return model;
}

}  // namespace

absl::StatusOr<StoredModel> ReadGgufModel(const std::string& path) {
  ASSIGN_OR_RETURN(std::unique_ptr<RandomAccessFile> file, OpenRandomAccessFile(path));
  return At(path, ReadModel(std::move(file)));
}

}  // namespace peerage
