#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "model/checkpoint/container/stored_weights.h"

namespace peerage::transform {

// What weights hold under the files' own names, of any format and whether or not a model can be
// made of them: OpenWeights without what it opened.

// For people: which dict of a PyTorch file it is, a line a tensor (name, dtype, shape, bytes) in
// the file's order, and the sums.
std::string TensorListingText(const StoredWeights& weights);

// For programs: one object with format, key, other_keys and not_tensors (null but of a PyTorch
// file), tensors (objects with name, dtype, shape and bytes) and bytes (of all of them).
nlohmann::ordered_json TensorListingJson(const StoredWeights& weights);

}  // namespace peerage::transform
