#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

namespace peerage {

// Normally distributed f32 of a seed.
at::Tensor Normal(const std::vector<int64_t>& shape, uint32_t seed);

// A copy of values as f64, in a shape.
at::Tensor Doubles(const std::vector<float>& values, const std::vector<int64_t>& shape);

// The values of a contiguous f32 tensor.
inline float* Floats(const at::Tensor& tensor) { return tensor.data_ptr<float>(); }

// Fails the test where a value differs from what ATen has computed in f64 by more than `tolerance`
// of the largest expected magnitude.
void ExpectNear(const at::Tensor& actual, const at::Tensor& expected, double tolerance);

}  // namespace peerage
