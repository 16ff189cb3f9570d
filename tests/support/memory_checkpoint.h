#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "model/checkpoint/checkpoint.h"

namespace peerage {

// A checkpoint in memory: random f32 weights for a config, each of which a test may change.
class MemoryCheckpoint : public Checkpoint {
 public:
  MemoryCheckpoint(ModelConfig config, uint32_t seed);

  std::vector<float>& values(const std::string& name) { return values_.at(name); }
  const std::vector<float>& values(const std::string& name) const { return values_.at(name); }

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
  void Add(const std::string& name, std::vector<int64_t> shape, uint32_t seed);

  const ModelConfig config_;
  const TokenizerSource tokenizer_;
  std::vector<TensorInfo> tensors_;
  std::map<std::string, std::vector<float>> values_;
};

// A small dense model: 2 layers, 4 heads on 2 KV heads, d 32, 67 tokens.
ModelConfig SmallConfig();

}  // namespace peerage
