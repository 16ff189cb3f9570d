// Conversions between rows of stored tensors, f32, and the weight formats that kernels run. The
// blocks and their rounding are those of GGUF (ggml's reference quantisation).
//
// Rows hold whole blocks: n is a multiple of the block sizes involved. Little-endian, unaligned.
#pragma once

#include <cstddef>
#include <cstdint>

#include "model/kernels/linear.h"
#include "model/tensor_type.h"

namespace peerage::kernels {

// How rows of a weight format are stored.
constexpr TensorType StoredType(WeightFormat format) {
  switch (format) {
    case WeightFormat::kF32:
      return TensorType::kF32;
    case WeightFormat::kBF16:
      return TensorType::kBF16;
    case WeightFormat::kQ8_0:
      return TensorType::kQ8_0;
    case WeightFormat::kQ4_1:
      return TensorType::kQ4_1;
  }
  return TensorType::kF32;
}

constexpr size_t StoredRowBytes(WeightFormat format, int64_t n) {
  return RowBytes(StoredType(format), n);
}

// The format that keeps what a stored tensor holds (--weights-dtype auto): as stored where kernels
// run it, else the cheapest that loses nothing (f16 -> f32, q4_0 -> q4_1) or, for q5_0, q5_1 and
// q6_k, q8_0.
WeightFormat StoredFormat(TensorType type);

// Each value is exact, or rounded once where f32 does not hold it.
void DequantizeRow(TensorType type, const uint8_t* row, int64_t n, float* out);

// bf16 and f16 round to nearest, ties to even; f16 beyond its range becomes infinite. A quantised
// block that holds a NaN or an infinity becomes all NaN.
// Precondition: f32, bf16, f16, q8_0 or q4_1.
void QuantizeRow(TensorType type, const float* x, int64_t n, uint8_t* row);
inline void QuantizeRow(WeightFormat format, const float* x, int64_t n, uint8_t* row) {
  QuantizeRow(StoredType(format), x, n, row);
}

// Stored row to stored row of `to`: a copy when that is what it is, exact from q4_0 to q4_1
// (m = -8 d), else by f32.
struct ConvertRowArgs {
  TensorType from = TensorType::kF32;
  WeightFormat to = WeightFormat::kF32;
  const uint8_t* row = nullptr;
  int64_t n = 0;
};
void ConvertRow(const ConvertRowArgs& args, uint8_t* out);

}  // namespace peerage::kernels
