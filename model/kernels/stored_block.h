// Conversions between rows of stored tensors, f32, and the weight formats that kernels run. The
// blocks are those of GGUF; values are rounded with the scale as the block stores it.
//
// Rows hold whole blocks: n is a multiple of the block sizes involved. Little-endian, unaligned.
#pragma once

#include <algorithm>
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

// What values lost when they were rounded to another type, as magnitudes; 0: nothing of the kind.
struct RoundingLoss {
  float largest = 0;    // of the finite values
  float vanished = 0;   // of the blocks that are too small for their scale, an f16
  float overflown = 0;  // of the finite values that are beyond the type's range

  void Add(const RoundingLoss& other) {
    largest = std::max(largest, other.largest);
    vanished = std::max(vanished, other.vanished);
    overflown = std::max(overflown, other.overflown);
  }
};

// bf16 and f16 round to nearest, ties to even, and become infinite beyond their range. A quantised
// block that holds a NaN, an infinity or a value beyond its range becomes all NaN.
//
// Blocks have f16 scales, whose steps are 2^-24 at the least. The scale is rounded first, up where
// the largest value would not be reached, and the values then with it: a block that has not
// vanished is off by at most twice what its bits allow (q8_0: largest / 127).
// Precondition: f32, bf16, f16, q8_0 or q4_1.
RoundingLoss QuantizeRow(TensorType type, const float* x, int64_t n, uint8_t* row);
inline RoundingLoss QuantizeRow(WeightFormat format, const float* x, int64_t n, uint8_t* row) {
  return QuantizeRow(StoredType(format), x, n, row);
}

// Stored row to stored row of `to`: a copy when that is what it is, exact from q4_0 to q4_1
// (m = -8 d), else by f32.
struct ConvertRowArgs {
  TensorType from = TensorType::kF32;
  WeightFormat to = WeightFormat::kF32;
  const uint8_t* row = nullptr;
  int64_t n = 0;
};
RoundingLoss ConvertRow(const ConvertRowArgs& args, uint8_t* out);

}  // namespace peerage::kernels
