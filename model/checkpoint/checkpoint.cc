#include "model/checkpoint/checkpoint.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "model/checkpoint/container/sha256.h"
#include "model/checkpoint/layout/tensor_reading.h"
#include "model/checkpoint/stored_model.h"

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

  const TensorInfo* Find(absl::string_view name) const override {
    const auto found = index_.find(absl::string_view(name.data(), name.size()));
    return found == index_.end() ? nullptr : &infos_[found->second];
  }

  absl::Status Read(const TensorInfo& tensor, absl::Span<uint8_t> bytes) const override {
    ASSIGN_OR_RETURN(const BoundTensor* bound, Bound(tensor));
    if (bytes.size() != bound->info.bytes) {
      return absl::InvalidArgumentError(absl::StrCat("tensor ", Quoted(tensor.name), " has ",
                                                     bound->info.bytes, " bytes, not ",
                                                     bytes.size()));
    }
    return ReadTensor(model_.weight_files, *bound, bytes);
  }

  absl::Status ReadRows(const TensorInfo& tensor, int64_t first,
                        absl::Span<uint8_t> bytes) const override {
    ASSIGN_OR_RETURN(const BoundTensor* bound, Bound(tensor));
    return ReadTensorRows(model_.weight_files, *bound, first, bytes);
  }

  absl::StatusOr<std::string> Fingerprint() const override {
    return Sha256Hex(model_.weight_files);
  }

 private:
  absl::StatusOr<const BoundTensor*> Bound(const TensorInfo& tensor) const {
    const auto found = index_.find(tensor.name);
    if (found != index_.end()) return &model_.tensors[found->second];
    return absl::NotFoundError(absl::StrCat("no tensor ", Quoted(tensor.name)));
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
