#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "model/checkpoint/checkpoint.h"

namespace peerage {

// A checkpoint whose tensors lie in memory; how they are held is for those who derive from it.
class CheckpointInMemory : public Checkpoint {
 public:
  const ModelConfig& config() const override { return config_; }
  const TokenizerSource& tokenizer() const override { return tokenizer_; }
  absl::Span<const TensorInfo> tensors() const override { return tensors_; }
  const TensorInfo* Find(absl::string_view name) const override {
    const auto found = std::find_if(tensors_.begin(), tensors_.end(),
                                    [&](const TensorInfo& tensor) { return tensor.name == name; });
    return found == tensors_.end() ? nullptr : &*found;
  }
  absl::Status Read(const TensorInfo& tensor, absl::Span<uint8_t> bytes) const override {
    return ReadRows(tensor, 0, bytes);
  }
  absl::Status ReadRows(const TensorInfo& tensor, int64_t first,
                        absl::Span<uint8_t> bytes) const override {
    const uint64_t row_bytes = tensor.bytes / tensor.shape[0];
    std::copy_n(Stored(tensor.name) + first * row_bytes, bytes.size(), bytes.begin());
    return absl::OkStatus();
  }
  absl::StatusOr<std::string> Fingerprint() const override { return std::string(64, '0'); }
  absl::Span<const std::string> ignored() const override { return {}; }

 protected:
  explicit CheckpointInMemory(ModelConfig config) : config_(std::move(config)) {}

  // The bytes of a tensor that was noted.
  virtual const uint8_t* Stored(const std::string& name) const = 0;
  void Note(TensorInfo tensor) { tensors_.push_back(std::move(tensor)); }

 private:
  const ModelConfig config_;
  const TokenizerSource tokenizer_;
  std::vector<TensorInfo> tensors_;
};

}  // namespace peerage
