#include "tests/support/memory_checkpoint.h"

#include <random>
#include <utility>

#include "model/checkpoint/layout/tensor_layout.h"

namespace peerage {

MemoryCheckpoint::MemoryCheckpoint(ModelConfig config, uint32_t seed)
    : CheckpointInMemory(std::move(config)) {
  for (TensorSpec& spec : TensorLayout(this->config(), TensorNaming::kPeerage)) {
    Add(spec.name, std::move(spec.shape), seed++);
  }
}

void MemoryCheckpoint::Add(const std::string& name, std::vector<int64_t> shape, uint32_t seed) {
  const size_t count = Elements(shape);
  std::mt19937 random(seed);
  std::normal_distribution<float> gauss(shape.size() == 1 ? 1.0f : 0.0f, 0.2f);
  std::vector<float> values(count);
  for (float& value : values) value = gauss(random);
  values_[name] = std::move(values);
  Note({.name = name,
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
