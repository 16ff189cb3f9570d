#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/checkpoint/checkpoint.h"
#include "model/kernels/linear.h"

namespace peerage::nn {

// `--weights-dtype`: how matrices are held in memory (docs/model_format.md).
enum class WeightsDtype { kAuto, kF32, kBF16, kQ8_0, kQ4_1 };

std::string_view Name(kernels::WeightFormat format);

// The format a matrix is held in. Embedding and head never go below q8_0; rows that are not whole
// blocks of 32 stay f32.
kernels::WeightFormat FormatOf(const TensorInfo& matrix, WeightsDtype dtype);

// Whether a canonical tensor is a matrix for linear layers (norms are vectors).
bool IsMatrix(const TensorInfo& tensor);

// What loading changes, for one log line: "3 q6_k matrices to q8_0", ... Empty when all stay as
// stored.
std::vector<std::string> Conversions(const Checkpoint& checkpoint, WeightsDtype dtype);

// Bytes of all weights in memory.
uint64_t WeightBytes(const Checkpoint& checkpoint, WeightsDtype dtype);

}  // namespace peerage::nn
