#include "model/transform/convert/convert.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "base/error_text.h"
#include "base/little_endian.h"
#include "base/status_macros.h"
#include "model/checkpoint/container/random_access_file.h"
#include "model/checkpoint/container/safetensors_shards_writer.h"
#include "model/checkpoint/container/stored_weights.h"
#include "model/checkpoint/layout/stored_values.h"
#include "model/checkpoint/layout/tensor_binding.h"
#include "model/checkpoint/layout/tied_head.h"
#include "model/transform/convert/conversion_record.h"
#include "model/transform/convert/model_parts.h"
#include "model/transform/new_model_directory.h"
#include "model/transform/tensor_values.h"

namespace peerage::transform {
namespace {

constexpr absl::string_view kDouble = "F64";

// Another dtype that the tensor gets. Doubles are no weights': they become floats at least.
std::optional<TensorType> NewType(const StoredTensor& tensor, std::optional<TensorType> dtype) {
  if (tensor.dtype == kDouble) return dtype.value_or(TensorType::kF32);
  const bool changes = dtype.has_value() && tensor.type.has_value() && *tensor.type != *dtype;
  return changes ? dtype : std::nullopt;
}

uint64_t ElementBytes(const StoredTensor& tensor) {
  if (tensor.dtype == kDouble) return sizeof(double);
  return tensor.type.has_value() ? RowBytes(*tensor.type, 1) : sizeof(float);
}

// The tensors as the new files store them.
std::vector<StoredTensor> NewTensors(const RenamedTensors& renamed,
                                     std::optional<TensorType> dtype) {
  std::vector<StoredTensor> tensors;
  for (const auto& [name, source] : renamed.tensors) {
    StoredTensor& tensor = tensors.emplace_back(source.tensor);
    const std::optional<TensorType> type = NewType(source.tensor, dtype);
    if (!type.has_value()) continue;
    tensor.type = type;
    tensor.dtype = SafetensorsWord(*type);
    tensor.bytes = tensor.bytes / ElementBytes(source.tensor) * RowBytes(*type, 1);
  }
  return tensors;
}

std::vector<SafetensorsEntry> Plan(const std::vector<StoredTensor>& tensors) {
  std::vector<SafetensorsEntry> plan;
  for (const StoredTensor& tensor : tensors) {
    plan.push_back({tensor.name, tensor.dtype, tensor.shape, tensor.bytes});
  }
  return plan;
}

absl::StatusOr<std::vector<float>> NarrowDoubles(absl::Span<const uint8_t> bytes) {
  std::vector<float> values;
  for (size_t i = 0; i < bytes.size(); i += sizeof(double)) {
    const auto value = std::bit_cast<double>(LoadLittleEndian<uint64_t>(&bytes[i]));
    values.push_back(static_cast<float>(value));
    if (std::isfinite(value) && !std::isfinite(values.back())) {
      return absl::InvalidArgumentError(
          absl::StrCat("a value of magnitude ", std::abs(value), " is beyond the range of f32"));
    }
  }
  return values;
}

absl::StatusOr<std::vector<uint8_t>> ConvertPiece(const StoredTensor& tensor, TensorType to,
                                                  absl::Span<const uint8_t> piece) {
  std::vector<float> values;
  if (tensor.dtype == kDouble) {
    ASSIGN_OR_RETURN(values, NarrowDoubles(piece));
  } else {
    values = FloatsOf(*tensor.type, piece);
  }
  ASSIGN_OR_RETURN(StoredRows rows, StoreInRange(to, values));
  return std::move(rows.bytes);
}

// Calls write(bytes) for the tensor's bytes, a piece at a time.
template <typename Write>
absl::Status CopyTensor(const RandomAccessFile& file, const RenamedTensor& renamed,
                        std::optional<TensorType> dtype, const Write& write) {
  const StoredTensor& tensor = renamed.tensor;
  const std::optional<TensorType> to = NewType(tensor, dtype);
  const uint64_t piece_bytes = kElementsAtOnce * ElementBytes(tensor);
  std::vector<uint8_t> piece;
  for (uint64_t done = 0; done < tensor.bytes; done += piece.size()) {
    piece.resize(std::min(piece_bytes, tensor.bytes - done));
    RETURN_IF_ERROR(file.Read(tensor.offset + done, absl::MakeSpan(piece)));
    if (!to.has_value()) {
      RETURN_IF_ERROR(write(piece));
      continue;
    }
    ASSIGN_OR_RETURN(const std::vector<uint8_t> converted,
                     At(absl::StrCat(file.path(), ": tensor ", Quoted(renamed.source)),
                        ConvertPiece(tensor, *to, piece)));
    RETURN_IF_ERROR(write(converted));
  }
  return absl::OkStatus();
}

// Whether the tensors are those of the config's model.
absl::Status CheckFit(const ModelConfig& config, const StoredWeights& weights,
                      const RenamedTensors& renamed, const std::vector<StoredTensor>& tensors) {
  ASSIGN_OR_RETURN(const TensorBinding binding,
                   BindTensors(config, NamingOf(config, tensors), tensors));
  if (!binding.tied_head.has_value()) return absl::OkStatus();
  // The values are compared as the source stores them.
  const auto source = [&renamed](const StoredTensor& tensor) {
    return renamed.tensors.at(tensor.name).tensor;
  };
  return CheckTiedHead(weights.files,
                       {source(binding.tied_head->embedding), source(binding.tied_head->head)});
}

}  // namespace

absl::StatusOr<ConvertReport> Convert(const ConvertOptions& options) {
  ASSIGN_OR_RETURN(StoredWeights weights, OpenWeights(options.from, {.key = options.key}));
  if (weights.format == "gguf") {
    return absl::InvalidArgumentError(absl::StrCat(
        options.from,
        ": is a GGUF file; it is converted as a whole model, under a name that ends in "
        ".gguf"));
  }
  ASSIGN_OR_RETURN(const ModelParts parts,
                   FindModelParts(options.from, options.config, options.tokenizer));
  ASSIGN_OR_RETURN(
      RenamedTensors renamed,
      At(options.from,
         RenameTensors(weights.tensors, {.names = options.names,
                                         .drop_unmatched = options.drop_unmatched,
                                         .config = parts.config ? &*parts.config : nullptr})));
  const std::vector<StoredTensor> tensors = NewTensors(renamed, options.dtype);
  const std::vector<SafetensorsEntry> plan = Plan(tensors);
  ConvertReport report;
  if (parts.config.has_value() && (options.names.has_value() || !options.config.empty())) {
    report.misfit = CheckFit(*parts.config, weights, renamed, tensors);
    if (parts.config_decides) RETURN_IF_ERROR(At(parts.config_file.string(), report.misfit));
  }
  Progress progress;
  for (const SafetensorsEntry& tensor : plan) progress.total_bytes += tensor.bytes;
  ASSIGN_OR_RETURN(const std::vector<std::string> replaced,
                   ReplacedFiles(options.out, options.force));
  if (parts.config_file.empty() &&
      std::find(replaced.begin(), replaced.end(), "config.json") != replaced.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat(options.out, ": --force would leave it without its config.json; --config ",
                     options.out, " takes that one over"));
  }
  RETURN_IF_ERROR(Report(options.progress, progress));
  ASSIGN_OR_RETURN(const std::unique_ptr<NewModelDirectory> directory,
                   NewModelDirectory::Create(
                       {.path = options.out, .bytes = progress.total_bytes, .replaced = replaced}));
  ASSIGN_OR_RETURN(report.copied_files,
                   CopyModelParts(parts, directory->partial_path(), options.dtype));
  ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsShardsWriter> writer,
                   SafetensorsShardsWriter::Create(directory->partial_path(), plan));
  for (const auto& [name, tensor] : renamed.tensors) {
    const auto write = [&](absl::Span<const uint8_t> bytes) {
      progress.bytes += bytes.size();
      RETURN_IF_ERROR(writer->Append(bytes));
      return Report(options.progress, progress);
    };
    RETURN_IF_ERROR(CopyTensor(*weights.files[tensor.tensor.file], tensor, options.dtype, write));
    report.doubles += tensor.tensor.dtype == kDouble ? 1 : 0;
  }
  RETURN_IF_ERROR(writer->Finish());
  RETURN_IF_ERROR(WriteConversionRecord(directory->partial_path()));
  RETURN_IF_ERROR(directory->Commit());
  report.tensors = plan.size();
  report.unused_patterns = std::move(renamed.unused_patterns);
  report.unmatched = std::move(renamed.unmatched);
  report.tied = std::move(renamed.tied);
  report.choice = std::move(weights.choice);
  report.bytes = progress.total_bytes;
  return report;
}

}  // namespace peerage::transform
