#include "train/training/model_writing.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "model/checkpoint/container/safetensors_shards_writer.h"
#include "model/tokenizer/tokenizer_file_names.h"
#include "model/transform/model_files.h"
#include "model/transform/new_model_directory.h"
#include "model/transform/tensor_values.h"

namespace peerage::train {
namespace {

absl::Status WriteTensor(SafetensorsShardsWriter& writer, const std::string& name, TensorType dtype,
                         absl::Span<const float> values) {
  for (size_t first = 0; first < values.size(); first += transform::kElementsAtOnce) {
    ASSIGN_OR_RETURN(
        const transform::StoredRows stored,
        At(absl::StrCat("tensor ", Quoted(name)),
           transform::StoreInRange(dtype, values.subspan(first, transform::kElementsAtOnce))));
    RETURN_IF_ERROR(writer.Append(stored.bytes));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status WriteModel(const SourceModel& source, const RunSection& run, LearningModel& model) {
  std::vector<SafetensorsEntry> plan;
  uint64_t bytes = 0;
  for (const nn::PlannedTensor& tensor : model.tensors()) {
    plan.push_back({tensor.name, transform::SafetensorsWord(run.dtype), tensor.shape,
                    RowBytes(run.dtype, Elements(tensor.shape))});
    bytes += plan.back().bytes;
  }
  ASSIGN_OR_RETURN(const auto directory,
                   transform::NewModelDirectory::Create({.path = run.out, .bytes = bytes}));
  const std::string& partial = directory->partial_path();
  RETURN_IF_ERROR(transform::WriteTextFiles(partial, source.tokenizer_files));
  RETURN_IF_ERROR(
      transform::WriteTextFiles(partial, {{std::string(kModelConfigName), source.config_json}}));
  ASSIGN_OR_RETURN(const auto writer, SafetensorsShardsWriter::Create(partial, plan));
  for (const nn::PlannedTensor& tensor : model.tensors()) {
    RETURN_IF_ERROR(WriteTensor(*writer, tensor.name, run.dtype, model.Values(tensor.name)));
  }
  RETURN_IF_ERROR(writer->Finish());
  return directory->Commit();
}

}  // namespace peerage::train
