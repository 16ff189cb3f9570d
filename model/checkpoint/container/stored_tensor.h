#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/tensor_type.h"

namespace peerage {

// One tensor as a file stores it, under the file's own name for it.
struct StoredTensor {
  std::string name;
  std::string dtype;               // the file's word: "F32", "I64", "Q4_1", ...
  std::optional<TensorType> type;  // absent: a dtype that no weight may have
  std::vector<int64_t> shape;      // row-major
  int file = 0;                    // index of its shard
  uint64_t offset = 0;             // from the start of that file
  uint64_t bytes = 0;
};

}  // namespace peerage
