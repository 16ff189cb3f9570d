#include "model/checkpoint/checkpoint.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "model/checkpoint/rotary_rows.h"
#include "model/checkpoint/sha256.h"
#include "model/checkpoint/stored_model.h"
#include "model/error_text.h"
#include "model/status_macros.h"

namespace peerage {
namespace {

class StoredCheckpoint final : public Checkpoint {
 public:
  explicit StoredCheckpoint(StoredModel model) : model_(std::move(model)) {
    for (const BoundTensor& tensor : model_.tensors) infos_.push_back(tensor.info);
    for (size_t i = 0; i < infos_.size(); ++i) index_.emplace(infos_[i].name, i);
  }

  const ModelConfig& config() const override { return model_.config; }
  const TokenizerSource& tokenizer() const override { return model_.tokenizer; }
  absl::Span<const TensorInfo> tensors() const override { return infos_; }
  absl::Span<const std::string> ignored() const override { return model_.ignored; }

  const TensorInfo* Find(std::string_view name) const override {
    const auto found = index_.find(absl::string_view(name.data(), name.size()));
    return found == index_.end() ? nullptr : &infos_[found->second];
  }

  absl::Status Read(const TensorInfo& tensor, absl::Span<uint8_t> bytes) const override {
    const auto found = index_.find(tensor.name);
    if (found == index_.end()) {
      return absl::NotFoundError(absl::StrCat("no tensor ", Quoted(tensor.name)));
    }
    const BoundTensor& bound = model_.tensors[found->second];
    if (bytes.size() != bound.info.bytes) {
      return absl::InvalidArgumentError(absl::StrCat(
          "tensor ", Quoted(tensor.name), " has ", bound.info.bytes, " bytes, not ", bytes.size()));
    }
    if (bound.interleaved_heads > 0) return ReadInterleaved(bound, bytes);
    return model_.weight_files[bound.file]->Read(bound.offset, bytes);
  }

  absl::Status ReadRows(const TensorInfo& tensor, int64_t first,
                        absl::Span<uint8_t> bytes) const override {
    const auto found = index_.find(tensor.name);
    if (found == index_.end()) {
      return absl::NotFoundError(absl::StrCat("no tensor ", Quoted(tensor.name)));
    }
    const BoundTensor& bound = model_.tensors[found->second];
    const uint64_t row_bytes = bound.info.bytes / bound.info.shape[0];
    return model_.weight_files[bound.file]->Read(bound.offset + first * row_bytes, bytes);
  }

  absl::StatusOr<std::string> Fingerprint() const override {
    return Sha256Hex(model_.weight_files);
  }

 private:
  absl::Status ReadInterleaved(const BoundTensor& bound, absl::Span<uint8_t> bytes) const {
    std::vector<uint8_t> stored(bytes.size());
    RETURN_IF_ERROR(model_.weight_files[bound.file]->Read(bound.offset, absl::MakeSpan(stored)));
    RestoreRotaryRows({.heads = bound.interleaved_heads,
                       .head_dim = model_.config.head_dim,
                       .row_bytes = RowBytes(bound.info.type, bound.info.shape[1])},
                      stored, bytes);
    return absl::OkStatus();
  }

  const StoredModel model_;
  std::vector<TensorInfo> infos_;                   // as model_.tensors
  absl::flat_hash_map<std::string, size_t> index_;  // name -> infos_
};

absl::StatusOr<StoredModel> ReadModel(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found) {
    return absl::NotFoundError(absl::StrCat(path, ": no such file or directory"));
  }
  if (error) return absl::UnavailableError(absl::StrCat(path, ": ", error.message()));
  if (fs::is_directory(status)) return ReadModelDirectory(path);
  if (fs::path(path).extension() == ".gguf") return ReadGgufModel(path);
  return absl::InvalidArgumentError(
      absl::StrCat(path, ": neither a model directory nor a .gguf file"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Checkpoint>> OpenCheckpoint(const std::string& path) {
  ASSIGN_OR_RETURN(StoredModel model, ReadModel(path));
  return std::make_unique<StoredCheckpoint>(std::move(model));
}

}  // namespace peerage
