#include "tests/support/tensor_checkpoint.h"

#include <utility>

#include "model/kernels/stored_block.h"
#include "tests/support/random_values.h"

namespace peerage {

void TensorCheckpoint::Add(const std::string& name, TensorType type, std::vector<int64_t> shape) {
  const size_t count = Elements(shape);
  const auto seed = static_cast<uint32_t>(tensors().size());
  const std::vector<float> values = RandomValues(count, seed);
  std::vector<uint8_t> bytes(RowBytes(type, count));
  kernels::QuantizeRow(type, values.data(), count, bytes.data());
  AddBytes(name, type, std::move(shape), std::move(bytes));
}

void TensorCheckpoint::AddBytes(const std::string& name, TensorType type,
                                std::vector<int64_t> shape, std::vector<uint8_t> bytes) {
  Note({.name = name, .type = type, .shape = std::move(shape), .bytes = bytes.size()});
  bytes_[name] = std::move(bytes);
}

std::vector<float> TensorCheckpoint::values(const std::string& name) const {
  const TensorInfo& tensor = *Find(name);
  const TensorTypeTraits traits = Traits(tensor.type);
  std::vector<float> values(tensor.bytes / traits.block_bytes * traits.block_elements);
  kernels::DequantizeRow(tensor.type, bytes_.at(name).data(), values.size(), values.data());
  return values;
}

void TensorCheckpoint::Set(const std::string& name, size_t index, float value) {
  const TensorType type = Find(name)->type;
  kernels::QuantizeRow(type, &value, 1, bytes_.at(name).data() + RowBytes(type, index));
}

}  // namespace peerage
