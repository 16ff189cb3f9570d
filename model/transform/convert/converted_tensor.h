#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/layout/tensor_spec.h"
#include "model/tensor_type.h"
#include "model/transform/tensor_values.h"

namespace peerage::transform {

// A tensor of a model as another format is to have it.
class ConvertedTensor {
 public:
  // `spec` is the new format's, and its one part names the tensor there.
  // Preconditions: the checkpoint has the spec's tensor and outlives this; rows fit `type`'s
  // blocks.
  ConvertedTensor(const Checkpoint& checkpoint, TensorSpec spec, TensorType type);

  const std::string& name() const { return spec_.parts.front().name; }
  const std::vector<int64_t>& shape() const { return spec_.shape; }
  TensorType type() const { return type_; }
  uint64_t bytes() const;

  // Rows that a piece has: of a tensor whose rows change places, all.
  int64_t rows_at_once() const;

  // Rows [first, first + rows) of the first dimension as the new format stores them. A value beyond
  // the range of the new dtype is an error (StoreInRange) and names the tensor. What they lost is
  // to be summed up for the whole tensor. Precondition: first is a multiple of rows_at_once(), and
  // rows as many, or all that are left.
  absl::StatusOr<StoredRows> Rows(int64_t first, int64_t rows) const;

 private:
  absl::StatusOr<StoredRows> Store(std::vector<uint8_t> rows) const;

  const Checkpoint& checkpoint_;
  const TensorSpec spec_;
  const TensorType type_;
  const TensorInfo& source_;
};

}  // namespace peerage::transform
