#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "model/kernels/linear.h"
#include "model/kernels/stored_block.h"
#include "model/tensor_type.h"

namespace peerage::nn::cpu {

// Neighbouring columns of stored rows.
struct RowSegment {
  TensorType type = TensorType::kF32;
  const uint8_t* data = nullptr;  // of the first row
  size_t stride = 0;              // bytes from a row to the next
  int64_t width = 0;              // columns, whole blocks of the type and of the matrix's format
};

// Packs rows as outputs [first_output, first_output + rows) of a matrix whose tiles are zeroed:
// each row is the segments side by side, converted to the matrix's format where they are not in it.
struct PackRowsArgs {
  kernels::PackedMatrix matrix;
  int first_output = 0;
  int rows = 0;
  absl::Span<const RowSegment> segments;
};
// Returns what each segment lost.
std::vector<kernels::RoundingLoss> PackRows(const PackRowsArgs& args, uint8_t* tiles);

}  // namespace peerage::nn::cpu
