// What retrieval by product keys is called with, checked. Works on tensors without data as well.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

namespace peerage::train {

// Shapes and types as operators.h has them, and as many picks as there are.
void CheckRouter(const at::Tensor& queries, const at::Tensor& sub_keys, int64_t top_k,
                 std::optional<int64_t> sub_top_k);

// Queries without values, in the same places of memory where each half is in one piece.
at::Tensor EmptyLikeQueries(const at::Tensor& queries, at::ScalarType type);

}  // namespace peerage::train
