#include "model/checkpoint/container/stored_weights.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "model/checkpoint/container/file_format.h"
#include "model/checkpoint/container/gguf.h"
#include "model/checkpoint/container/safetensors.h"
#include "model/checkpoint/container/weight_shards.h"

namespace peerage {
namespace {

absl::Status ReadSafetensorsInto(const RandomAccessFile& file, StoredWeights& weights) {
  ASSIGN_OR_RETURN(SafetensorsContents contents, ReadSafetensors(file));
  weights.format = "safetensors";
  weights.tensors = std::move(contents.tensors);
  return absl::OkStatus();
}

absl::Status ReadGgufInto(const RandomAccessFile& file, StoredWeights& weights) {
  ASSIGN_OR_RETURN(GgufContents contents, ReadGguf(file));
  weights.format = "gguf";
  weights.tensors = std::move(contents.tensors);
  return absl::OkStatus();
}

absl::Status ReadPytorchInto(const RandomAccessFile& file, const std::string& key,
                             StoredWeights& weights) {
  ASSIGN_OR_RETURN(PytorchContents contents, ReadPytorch(file, key));
  weights.format = "pytorch";
  weights.tensors = std::move(contents.tensors);
  weights.choice = std::move(contents.choice);
  for (auto& view : contents.views) weights.files.push_back(std::move(view));
  return absl::OkStatus();
}

// By the file's name where that says something; else by its first bytes.
absl::StatusOr<FileFormat> ExpectedFormat(const RandomAccessFile& file) {
  const std::string extension = std::filesystem::path(file.path()).extension();
  if (extension == ".safetensors") return FileFormat::kSafetensors;
  if (extension == ".gguf") return FileFormat::kGguf;
  if (extension == ".pt" || extension == ".pth" || extension == ".bin") return FileFormat::kZip;
  ASSIGN_OR_RETURN(const FileFormat format, FormatOf(file));
  if (format == FileFormat::kPickle) return FileFormat::kZip;
  return format == FileFormat::kZip || format == FileFormat::kGguf ? format
                                                                   : FileFormat::kSafetensors;
}

absl::Status ReadInto(const RandomAccessFile& file, const std::string& key,
                      StoredWeights& weights) {
  ASSIGN_OR_RETURN(const FileFormat format, ExpectedFormat(file));
  if (format == FileFormat::kZip) return ReadPytorchInto(file, key, weights);
  RETURN_IF_ERROR(format == FileFormat::kGguf ? ReadGgufInto(file, weights)
                                              : ReadSafetensorsInto(file, weights));
  if (key.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("is ", Description(format), ", which has no dicts to choose by key"));
}

}  // namespace

absl::StatusOr<StoredWeights> OpenWeightFile(const std::string& path,
                                             const StoredWeightsOptions& options) {
  StoredWeights weights;
  ASSIGN_OR_RETURN(std::unique_ptr<RandomAccessFile> file, OpenRandomAccessFile(path));
  const RandomAccessFile& opened = *file;
  weights.files.push_back(std::move(file));
  RETURN_IF_ERROR(At(path, ReadInto(opened, options.key, weights)));
  return weights;
}

absl::StatusOr<StoredWeights> OpenWeights(const std::string& path,
                                          const StoredWeightsOptions& options) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return OpenWeightShards(path, options);
  return OpenWeightFile(path, options);
}

}  // namespace peerage
