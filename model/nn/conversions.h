#pragma once

#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "model/kernels/stored_block.h"
#include "model/tensor_type.h"

namespace peerage::nn {

// INVALID_ARGUMENT, saying which magnitude it is, when a type does not hold a tensor's values: one
// is beyond its range, or a block is so small that its scale is no number of the type's. A block
// that is 2^32 times smaller than the tensor's largest value (the rows of tokens that no training
// met) may vanish: no sum of float32 would know it. `loss`: of all rows.
absl::Status CheckHeld(TensorType type, const kernels::RoundingLoss& loss);

// What loading changes of stored tensors, counted by kind.
class Conversions {
 public:
  enum class Of { kMatrix, kTable };

  // `to` is the name of a format, and outlives this.
  void Add(TensorType from, Of of, absl::string_view to) { ++counts_[{from, of, to}]; }

  // For one log line: "3 q6_k matrices to q8_0", "2 f32 tables to int8", ...
  std::vector<std::string> Texts() const;

 private:
  std::map<std::tuple<TensorType, Of, absl::string_view>, int> counts_;
};

}  // namespace peerage::nn
