#include "model/transform/convert/convert.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <system_error>
#include <tuple>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "model/checkpoint/container/new_file.h"
#include "model/checkpoint/container/random_access_file.h"
#include "model/checkpoint/container/safetensors_shards_writer.h"
#include "model/checkpoint/container/stored_weights.h"
#include "model/checkpoint/layout/stored_values.h"
#include "model/transform/config_json.h"
#include "model/transform/convert/conversion_record.h"
#include "model/transform/new_model_directory.h"
#include "model/transform/tensor_values.h"

namespace peerage::transform {
namespace {

namespace fs = std::filesystem;

constexpr char kConfigName[] = "config.json";
constexpr const char* kOtherFiles[] = {kConfigName, "generation_config.json", "tokenizer.json",
                                       "tokenizer_config.json", "chat_template.jinja"};
constexpr uint64_t kMaxCopiedConfigBytes = uint64_t{1} << 20;

// What goes into the file, by new name, and what matched nothing.
struct Renaming {
  std::map<std::string, const StoredTensor*> tensors;
  std::vector<std::string> unused_patterns;
  std::vector<std::string> unmatched;
  std::vector<TiedTensor> tied;
};

std::vector<std::string> UnusedPatterns(const NameMapping& names, const std::set<size_t>& used) {
  std::vector<std::string> unused;
  for (size_t i = 0; i < names.patterns().size(); ++i) {
    if (!used.contains(i)) unused.push_back(names.patterns()[i].text());
  }
  return unused;
}

// Where a tensor's bytes are and how they are read: two of the same are one tensor of two names.
using Whereabouts = std::tuple<int, uint64_t, std::string, std::vector<int64_t>>;

// What safetensors files have no word for.
absl::Status CheckStorable(const StoredTensor& tensor) {
  if (tensor.dtype != "C64" && tensor.dtype != "C128") return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("tensor ", Quoted(tensor.name), " is complex (", tensor.dtype,
                   "), as no weight is; --rename and --drop-unmatched leave it out"));
}

absl::StatusOr<Renaming> RenameTensors(const ConvertOptions& options,
                                       const std::vector<StoredTensor>& stored) {
  const NameMapping none;
  const NameMapping& names = options.names.has_value() ? *options.names : none;
  Renaming renaming;
  std::set<size_t> used;
  std::map<Whereabouts, std::string> written;  // new names
  for (const StoredTensor& tensor : stored) {
    std::string name = tensor.name;
    if (std::optional<NameMapping::Renamed> match = names.Rename(tensor.name)) {
      name = std::move(match->name);
      used.insert(match->pattern);
    } else if (options.names.has_value()) {
      renaming.unmatched.push_back(tensor.name);
      if (options.drop_unmatched) continue;
    }
    RETURN_IF_ERROR(CheckStorable(tensor));
    const auto [first, is_first] =
        written.emplace(Whereabouts(tensor.file, tensor.offset, tensor.dtype, tensor.shape), name);
    if (tensor.bytes > 0 && !is_first) {
      renaming.tied.push_back({std::move(name), first->second});
      continue;
    }
    const auto [other, is_new] = renaming.tensors.emplace(name, &tensor);
    if (!is_new) {
      return absl::InvalidArgumentError(absl::StrCat("tensors ", Quoted(other->second->name),
                                                     " and ", Quoted(tensor.name),
                                                     " would both be named ", Quoted(name)));
    }
  }
  std::sort(renaming.unmatched.begin(), renaming.unmatched.end());
  renaming.unused_patterns = UnusedPatterns(names, used);
  return renaming;
}

// Whether the tensor gets another dtype than it has.
bool IsConverted(const StoredTensor& tensor, std::optional<TensorType> dtype) {
  return dtype.has_value() && tensor.type.has_value() && *tensor.type != *dtype;
}

std::vector<SafetensorsEntry> Plan(const Renaming& renaming, std::optional<TensorType> dtype) {
  std::vector<SafetensorsEntry> plan;
  for (const auto& [name, tensor] : renaming.tensors) {
    SafetensorsEntry planned{name, tensor->dtype, tensor->shape, tensor->bytes};
    if (IsConverted(*tensor, dtype)) {
      planned.dtype = SafetensorsWord(*dtype);
      planned.bytes = tensor->bytes / RowBytes(*tensor->type, 1) * RowBytes(*dtype, 1);
    }
    plan.push_back(std::move(planned));
  }
  return plan;
}

// Calls write(bytes) for the tensor's bytes, a piece at a time.
template <typename Write>
absl::Status CopyTensor(const RandomAccessFile& file, const StoredTensor& tensor,
                        std::optional<TensorType> dtype, const Write& write) {
  const bool converted = IsConverted(tensor, dtype);
  const uint64_t piece_bytes =
      kElementsAtOnce * (converted ? RowBytes(*tensor.type, 1) : sizeof(float));
  std::vector<uint8_t> piece;
  for (uint64_t done = 0; done < tensor.bytes; done += piece.size()) {
    piece.resize(std::min(piece_bytes, tensor.bytes - done));
    RETURN_IF_ERROR(file.Read(tensor.offset + done, absl::MakeSpan(piece)));
    if (!converted) {
      RETURN_IF_ERROR(write(piece));
      continue;
    }
    const absl::StatusOr<StoredRows> result = StoreInRange(*dtype, FloatsOf(*tensor.type, piece));
    if (!result.ok()) {
      return At(absl::StrCat(file.path(), ": tensor ", Quoted(tensor.name)), result.status());
    }
    RETURN_IF_ERROR(write(result->bytes));
  }
  return absl::OkStatus();
}

// A config.json says which dtype its weights have.
absl::Status CopyConfig(const std::string& from, const std::string& to, TensorType dtype) {
  ASSIGN_OR_RETURN(const std::string config, ReadTextFile(from, kMaxCopiedConfigBytes));
  const absl::StatusOr<std::string> changed = WithDtype(config, dtype);
  if (!changed.ok()) return At(from, changed.status());
  return WriteNewFile(to, *changed);
}

absl::StatusOr<std::vector<std::string>> CopyOtherFiles(const fs::path& from, const fs::path& to,
                                                        std::optional<TensorType> dtype) {
  std::vector<std::string> copied;
  std::error_code error;
  if (!fs::is_directory(from, error)) return copied;
  for (const std::string name : kOtherFiles) {
    if (!fs::exists(from / name, error)) continue;
    if (name == kConfigName && dtype.has_value()) {
      RETURN_IF_ERROR(CopyConfig(from / name, to / name, *dtype));
    } else if (!fs::copy_file(from / name, to / name, error)) {
      return absl::UnknownError(absl::StrCat((to / name).string(), ": ", error.message()));
    }
    copied.emplace_back(name);
  }
  return copied;
}

}  // namespace

absl::StatusOr<ConvertReport> Convert(const ConvertOptions& options) {
  ASSIGN_OR_RETURN(StoredWeights shards, OpenWeights(options.from, {.key = options.key}));
  absl::StatusOr<Renaming> renaming = RenameTensors(options, shards.tensors);
  if (!renaming.ok()) return At(options.from, renaming.status());

  const std::vector<SafetensorsEntry> plan = Plan(*renaming, options.dtype);
  Progress progress;
  for (const SafetensorsEntry& tensor : plan) progress.total_bytes += tensor.bytes;
  ASSIGN_OR_RETURN(const std::vector<std::string> replaced,
                   ReplacedFiles(options.out, options.force));
  RETURN_IF_ERROR(Report(options.progress, progress));
  ASSIGN_OR_RETURN(const std::unique_ptr<NewModelDirectory> directory,
                   NewModelDirectory::Create(
                       {.path = options.out, .bytes = progress.total_bytes, .replaced = replaced}));
  ConvertReport report;
  ASSIGN_OR_RETURN(report.copied_files,
                   CopyOtherFiles(options.from, directory->partial_path(), options.dtype));
  ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsShardsWriter> writer,
                   SafetensorsShardsWriter::Create(directory->partial_path(), plan));
  for (const auto& [name, tensor] : renaming->tensors) {
    const auto write = [&](absl::Span<const uint8_t> bytes) {
      progress.bytes += bytes.size();
      RETURN_IF_ERROR(writer->Append(bytes));
      return Report(options.progress, progress);
    };
    RETURN_IF_ERROR(CopyTensor(*shards.files[tensor->file], *tensor, options.dtype, write));
  }
  RETURN_IF_ERROR(writer->Finish());
  RETURN_IF_ERROR(WriteConversionRecord(directory->partial_path()));
  RETURN_IF_ERROR(directory->Commit());
  report.tensors = plan.size();
  report.unused_patterns = std::move(renaming->unused_patterns);
  report.unmatched = std::move(renaming->unmatched);
  report.tied = std::move(renaming->tied);
  report.choice = std::move(shards.choice);
  report.bytes = progress.total_bytes;
  return report;
}

}  // namespace peerage::transform
