#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/checkpoint/checkpoint.h"

namespace peerage {

// About normal, the same for the same counter.
float Noise(uint64_t counter);

// A checkpoint of bf16 noise with the standard deviation of usual initialisations (vectors are
// ones), for models that are larger than the files one would keep. It is read about as fast as
// memory is copied: a tensor is made of windows of a block of noise.
class NoiseCheckpoint : public Checkpoint {
 public:
  explicit NoiseCheckpoint(ModelConfig config);

  const ModelConfig& config() const override { return config_; }
  const TokenizerSource& tokenizer() const override { return tokenizer_; }
  absl::Span<const TensorInfo> tensors() const override { return tensors_; }
  absl::Span<const std::string> ignored() const override { return {}; }
  absl::StatusOr<std::string> Fingerprint() const override { return std::string(64, '0'); }
  const TensorInfo* Find(absl::string_view name) const override;
  absl::Status Read(const TensorInfo& tensor, absl::Span<uint8_t> bytes) const override;
  absl::Status ReadRows(const TensorInfo& tensor, int64_t first,
                        absl::Span<uint8_t> bytes) const override;

 private:
  const ModelConfig config_;
  const TokenizerSource tokenizer_;
  std::vector<TensorInfo> tensors_;
  std::map<int64_t, std::vector<uint16_t>> blocks_;  // by fan-in, 0: ones
};

}  // namespace peerage
