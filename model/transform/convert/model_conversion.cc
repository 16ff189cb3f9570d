#include "model/transform/convert/model_conversion.h"

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/container/gguf_writer.h"
#include "model/checkpoint/container/safetensors_shards_writer.h"
#include "model/checkpoint/layout/stored_values.h"
#include "model/checkpoint/layout/tensor_layout.h"
#include "model/nn/conversions.h"
#include "model/transform/config_json.h"
#include "model/transform/convert/conversion_record.h"
#include "model/transform/convert/converted_tensor.h"
#include "model/transform/convert/gguf_keys.h"
#include "model/transform/dense_model.h"
#include "model/transform/free_space.h"
#include "model/transform/model_files.h"
#include "model/transform/new_model_directory.h"
#include "model/transform/tensor_values.h"

namespace peerage::transform {
namespace {

bool IsGguf(const std::string& path) { return absl::EndsWith(path, ".gguf"); }

// What both formats have no words for.
absl::Status CheckLlama(const ModelConfig& config) {
  if (const absl::Status dense = CheckDense(config); !dense.ok()) {
    return absl::UnimplementedError(
        absl::StrCat(dense.message(), "; GGUF files hold dense llama models only here"));
  }
  const struct {
    const char* name;
    bool fits;
  } values[] = {{"norm_type", config.norm_type == NormType::kRmsNorm},
                {"rope_interleaved", !config.rope_interleaved},
                {"parallel_block", !config.parallel_block}};
  for (const auto& value : values) {
    if (!value.fits) {
      return absl::UnimplementedError(absl::StrCat(value.name, " is not that of a llama model"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<TensorType> TypeInSafetensors(const TensorInfo& tensor,
                                             std::optional<TensorType> dtype) {
  const TensorType type = dtype.value_or(tensor.type);
  if (IsPlain(type)) return type;
  return absl::InvalidArgumentError(absl::StrCat("tensor ", Quoted(tensor.name),
                                                 ": safetensors files have no ", Traits(type).name,
                                                 "; --dtype f32, bf16 or f16 gives it another"));
}

TensorType TypeInGguf(const TensorInfo& tensor, std::optional<TensorType> dtype) {
  if (tensor.shape.size() == 1) return TensorType::kF32;
  if (!dtype.has_value()) return tensor.type;
  if (IsPlain(*dtype)) return *dtype;
  if (tensor.shape.back() % Traits(*dtype).block_elements != 0) return TensorType::kF32;
  const bool by_token =
      absl::StrContains(tensor.name, "embed_tokens") || absl::StrContains(tensor.name, "lm_head");
  return by_token ? TensorType::kQ8_0 : *dtype;
}

absl::StatusOr<std::vector<ConvertedTensor>> PlanConversion(const Checkpoint& checkpoint,
                                                            const ModelConversionOptions& options) {
  const bool gguf = IsGguf(options.out);
  std::vector<ConvertedTensor> tensors;
  for (TensorSpec& spec :
       TensorLayout(checkpoint.config(), gguf ? TensorNaming::kGguf : TensorNaming::kLlama)) {
    const TensorInfo& source = *checkpoint.Find(spec.name);
    TensorType type = TypeInGguf(source, options.dtype);
    if (!gguf) {
      ASSIGN_OR_RETURN(type, TypeInSafetensors(source, options.dtype));
    }
    tensors.emplace_back(checkpoint, std::move(spec), type);
  }
  return tensors;
}

uint64_t TotalBytes(const std::vector<ConvertedTensor>& tensors) {
  uint64_t bytes = 0;
  for (const ConvertedTensor& tensor : tensors) bytes += tensor.bytes();
  return bytes;
}

template <typename Writer>
absl::Status WriteTensors(const std::vector<ConvertedTensor>& tensors,
                          const ProgressFunction& progress, Writer& writer) {
  Progress done{.total_bytes = TotalBytes(tensors)};
  for (const ConvertedTensor& tensor : tensors) {
    const int64_t rows = tensor.shape().front(), at_once = tensor.rows_at_once();
    kernels::RoundingLoss loss;
    for (int64_t first = 0; first < rows; first += at_once) {
      ASSIGN_OR_RETURN(const StoredRows piece, tensor.Rows(first, std::min(at_once, rows - first)));
      RETURN_IF_ERROR(writer.Append(piece.bytes));
      loss.Add(piece.loss);
      done.bytes += piece.bytes.size();
      RETURN_IF_ERROR(Report(progress, done));
    }
    RETURN_IF_ERROR(
        At(absl::StrCat("tensor ", Quoted(tensor.name())), nn::CheckHeld(tensor.type(), loss)));
  }
  return writer.Finish();
}

absl::Status WriteDirectory(const Checkpoint& checkpoint,
                            const std::vector<ConvertedTensor>& tensors,
                            const ModelConversionOptions& options) {
  absl::StatusOr<std::vector<TextFile>> files = TokenizerFiles(checkpoint.tokenizer());
  if (!files.ok()) return At(options.from, files.status());
  files->push_back(
      JsonFile("config.json", LlamaConfigJson(checkpoint.config(), tensors.front().type())));
  std::vector<SafetensorsEntry> plan;
  for (const ConvertedTensor& tensor : tensors) {
    plan.push_back({tensor.name(), SafetensorsWord(tensor.type()), tensor.shape(), tensor.bytes()});
  }
  ASSIGN_OR_RETURN(const std::vector<std::string> replaced,
                   ReplacedFiles(options.out, options.force));
  RETURN_IF_ERROR(Report(options.progress, {.total_bytes = TotalBytes(tensors)}));
  ASSIGN_OR_RETURN(const std::unique_ptr<NewModelDirectory> directory,
                   NewModelDirectory::Create(
                       {.path = options.out, .bytes = TotalBytes(tensors), .replaced = replaced}));
  RETURN_IF_ERROR(WriteTextFiles(directory->partial_path(), *files));
  ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsShardsWriter> writer,
                   SafetensorsShardsWriter::Create(directory->partial_path(), plan));
  RETURN_IF_ERROR(WriteTensors(tensors, options.progress, *writer));
  RETURN_IF_ERROR(WriteConversionRecord(directory->partial_path()));
  return directory->Commit();
}

absl::Status WriteGguf(const Checkpoint& checkpoint, const std::vector<ConvertedTensor>& tensors,
                       const ModelConversionOptions& options) {
  std::vector<GgufEntry> plan;
  bool quantized = false;
  for (const ConvertedTensor& tensor : tensors) {
    plan.push_back({tensor.name(), tensor.type(), tensor.shape(), tensor.bytes()});
    quantized |= !IsPlain(tensor.type());
  }
  const absl::StatusOr<GgufMetadata> keys = GgufKeysOf(checkpoint, quantized);
  if (!keys.ok()) return At(options.from, keys.status());
  RETURN_IF_ERROR(CheckFreeSpace(options.out, TotalBytes(tensors)));
  RETURN_IF_ERROR(Report(options.progress, {.total_bytes = TotalBytes(tensors)}));
  ASSIGN_OR_RETURN(const std::unique_ptr<GgufWriter> writer,
                   GgufWriter::Create(options.out, *keys, std::move(plan)));
  return WriteTensors(tensors, options.progress, *writer);
}

}  // namespace

absl::StatusOr<ModelConversionReport> ConvertModel(const ModelConversionOptions& options) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Checkpoint> checkpoint, OpenCheckpoint(options.from));
  RETURN_IF_ERROR(At(options.from, CheckLlama(checkpoint->config())));
  absl::StatusOr<std::vector<ConvertedTensor>> tensors = PlanConversion(*checkpoint, options);
  if (!tensors.ok()) return At(options.from, tensors.status());
  const absl::Status written = IsGguf(options.out) ? WriteGguf(*checkpoint, *tensors, options)
                                                   : WriteDirectory(*checkpoint, *tensors, options);
  RETURN_IF_ERROR(written);
  return ModelConversionReport{.tensors = tensors->size(), .bytes = TotalBytes(*tensors)};
}

}  // namespace peerage::transform
