#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/support/checkpoint_in_memory.h"

namespace peerage {

// A checkpoint in memory: random f32 weights for a config, each of which a test may change.
class MemoryCheckpoint : public CheckpointInMemory {
 public:
  MemoryCheckpoint(ModelConfig config, uint32_t seed);

  std::vector<float>& values(const std::string& name) { return values_.at(name); }
  const std::vector<float>& values(const std::string& name) const { return values_.at(name); }

 private:
  const uint8_t* Stored(const std::string& name) const override {
    return reinterpret_cast<const uint8_t*>(values_.at(name).data());
  }
  void Add(const std::string& name, std::vector<int64_t> shape, uint32_t seed);

  std::map<std::string, std::vector<float>> values_;
};

// A small dense model: 2 layers, 4 heads on 2 KV heads, d 32, 67 tokens.
ModelConfig SmallConfig();

}  // namespace peerage
