#pragma once

#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/string_view.h"
#include "model/tensor_type.h"

namespace peerage::nn {

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
