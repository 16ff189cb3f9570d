#include "tests/support/tensor_checkpoint.h"

#include <algorithm>
#include <utility>

#include "model/kernels/stored_block.h"
#include "tests/support/random_values.h"

namespace peerage {

void TensorCheckpoint::Add(const std::string& name, TensorType type, std::vector<int64_t> shape) {
  size_t count = 1;
  for (const int64_t dimension : shape) count *= dimension;
  const auto seed = static_cast<uint32_t>(tensors_.size());
  const std::vector<float> values = RandomValues(count, seed);
  std::vector<uint8_t> bytes(RowBytes(type, count));
  kernels::QuantizeRow(type, values.data(), count, bytes.data());
  AddBytes(name, type, std::move(shape), std::move(bytes));
}

void TensorCheckpoint::AddBytes(const std::string& name, TensorType type,
                                std::vector<int64_t> shape, std::vector<uint8_t> bytes) {
  tensors_.push_back(
      {.name = name, .type = type, .shape = std::move(shape), .bytes = bytes.size()});
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

const TensorInfo* TensorCheckpoint::Find(absl::string_view name) const {
  const auto found = std::find_if(tensors_.begin(), tensors_.end(),
                                  [&](const TensorInfo& tensor) { return tensor.name == name; });
  return found == tensors_.end() ? nullptr : &*found;
}

absl::Status TensorCheckpoint::Read(const TensorInfo& tensor, absl::Span<uint8_t> bytes) const {
  return ReadRows(tensor, 0, bytes);
}

absl::Status TensorCheckpoint::ReadRows(const TensorInfo& tensor, int64_t first,
                                        absl::Span<uint8_t> bytes) const {
  const size_t row_bytes = tensor.bytes / tensor.shape[0];
  std::copy_n(bytes_.at(tensor.name).begin() + first * row_bytes, bytes.size(), bytes.begin());
  return absl::OkStatus();
}

}  // namespace peerage
