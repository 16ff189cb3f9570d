// Tensors as the kernels see them: raw elements, bf16 as its bits.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/BFloat16.h>

#include <cstdint>
#include <type_traits>

#include "train/kernels/table_rows.h"

namespace peerage::train {

// Precondition: the tensor is contiguous and of the type.
template <typename T>
const T* Elements(const at::Tensor& tensor) {
  if constexpr (std::is_same_v<T, uint16_t>) {
    return reinterpret_cast<const uint16_t*>(tensor.const_data_ptr<at::BFloat16>());
  } else {
    return tensor.const_data_ptr<T>();
  }
}
template <typename T>
T* MutableElements(const at::Tensor& tensor) {
  if constexpr (std::is_same_v<T, uint16_t>) {
    return reinterpret_cast<uint16_t*>(tensor.mutable_data_ptr<at::BFloat16>());
  } else {
    return tensor.mutable_data_ptr<T>();
  }
}

// What sums over elements of a type are held in.
inline at::ScalarType SumType(at::ScalarType type) {
  return type == at::kDouble ? type : at::kFloat;
}

// Calls body with an element of the type, T{}.
template <typename Body>
auto WithElementType(const char* op, at::ScalarType type, const Body& body) {
  switch (type) {
    case at::kFloat:
      return body(float{});
    case at::kBFloat16:
      return body(uint16_t{});
    case at::kDouble:
      return body(double{});
    default:
      TORCH_CHECK(false, op, ": tensors of ", type,
                  " are not known; use float32, bfloat16 or float64");
  }
}

}  // namespace peerage::train
