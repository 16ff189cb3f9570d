#include "tests/support/memory_checkpoint.h"

#include <cstring>
#include <random>
#include <utility>

#include "model/checkpoint/layout/tensor_layout.h"

namespace peerage {

MemoryCheckpoint::MemoryCheckpoint(ModelConfig config, uint32_t seed) : config_(std::move(config)) {
  for (TensorSpec& spec : TensorLayout(config_, TensorNaming::kPeerage)) {
    Add(spec.name, std::move(spec.shape), seed++);
  }
}

const TensorInfo* MemoryCheckpoint::Find(absl::string_view name) const {
  for (const TensorInfo& tensor : tensors_) {
    if (tensor.name == name) return &tensor;
  }
  return nullptr;
}

absl::Status MemoryCheckpoint::Read(const TensorInfo& tensor, absl::Span<uint8_t> bytes) const {
  std::memcpy(bytes.data(), values_.at(tensor.name).data(), bytes.size());
  return absl::OkStatus();
}

absl::Status MemoryCheckpoint::ReadRows(const TensorInfo& tensor, int64_t first,
                                        absl::Span<uint8_t> bytes) const {
  const uint64_t row_bytes = tensor.bytes / tensor.shape[0];
  const auto* stored = reinterpret_cast<const uint8_t*>(values_.at(tensor.name).data());
  std::memcpy(bytes.data(), stored + first * row_bytes, bytes.size());
  return absl::OkStatus();
}

void MemoryCheckpoint::Add(const std::string& name, std::vector<int64_t> shape, uint32_t seed) {
  size_t count = 1;
  for (const int64_t dim : shape) count *= dim;
  std::mt19937 random(seed);
  std::normal_distribution<float> gauss(shape.size() == 1 ? 1.0f : 0.0f, 0.2f);
  std::vector<float> values(count);
  for (float& value : values) value = gauss(random);
  values_[name] = std::move(values);
  tensors_.push_back({.name = name,
                      .type = TensorType::kF32,
                      .shape = std::move(shape),
                      .bytes = count * sizeof(float)});
}

ModelConfig SmallConfig() {
  ModelConfig config;
  config.architecture = "peerage";
  config.vocab_size = 67;
  config.hidden_size = 32;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 8;
  config.max_positions = 256;
  config.tied_embeddings = true;
  config.layers.resize(2);
  for (LayerConfig& layer : config.layers) {
    layer.ffn = {DenseFfnConfig{.intermediate_size = 96}};
  }
  return config;
}

}  // namespace peerage
