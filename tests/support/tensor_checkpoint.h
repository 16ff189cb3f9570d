#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "model/checkpoint/checkpoint.h"

namespace peerage {

// A checkpoint of whatever tensors a test adds, in any type that values can be stored in: what
// places and reads weights does not ask for a model.
class TensorCheckpoint : public Checkpoint {
 public:
  // Random values, stored in the type; plain ones, q8_0 or q4_1.
  void Add(const std::string& name, TensorType type, std::vector<int64_t> shape);
  // The stored bytes as they are.
  void AddBytes(const std::string& name, TensorType type, std::vector<int64_t> shape,
                std::vector<uint8_t> bytes);

  // What the stored bytes mean.
  std::vector<float> values(const std::string& name) const;
  // Stores one value of a plain tensor anew.
  void Set(const std::string& name, size_t index, float value);

  const ModelConfig& config() const override { return config_; }
  const TokenizerSource& tokenizer() const override { return tokenizer_; }
  absl::Span<const TensorInfo> tensors() const override { return tensors_; }
  const TensorInfo* Find(absl::string_view name) const override;
  absl::Status Read(const TensorInfo& tensor, absl::Span<uint8_t> bytes) const override;
  absl::Status ReadRows(const TensorInfo& tensor, int64_t first,
                        absl::Span<uint8_t> bytes) const override;
  absl::StatusOr<std::string> Fingerprint() const override { return std::string(64, '0'); }
  absl::Span<const std::string> ignored() const override { return {}; }

 private:
  const ModelConfig config_;
  const TokenizerSource tokenizer_;
  std::vector<TensorInfo> tensors_;
  std::map<std::string, std::vector<uint8_t>> bytes_;
};

}  // namespace peerage
