#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/support/checkpoint_in_memory.h"

namespace peerage {

// A checkpoint of whatever tensors a test adds, in any type that values can be stored in: what
// places and reads weights does not ask for a model.
class TensorCheckpoint : public CheckpointInMemory {
 public:
  TensorCheckpoint() : CheckpointInMemory(ModelConfig()) {}

  // Random values, stored in the type; plain ones, q8_0 or q4_1.
  void Add(const std::string& name, TensorType type, std::vector<int64_t> shape);
  // The stored bytes as they are.
  void AddBytes(const std::string& name, TensorType type, std::vector<int64_t> shape,
                std::vector<uint8_t> bytes);

  // What the stored bytes mean.
  std::vector<float> values(const std::string& name) const;
  // Stores one value of a plain tensor anew.
  void Set(const std::string& name, size_t index, float value);

 private:
  const uint8_t* Stored(const std::string& name) const override { return bytes_.at(name).data(); }
  std::map<std::string, std::vector<uint8_t>> bytes_;
};

}  // namespace peerage
