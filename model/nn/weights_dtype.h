#pragma once

#include <string_view>

#include "model/checkpoint/checkpoint.h"
#include "model/kernels/experts.h"
#include "model/kernels/linear.h"

namespace peerage::nn {

// `--weights-dtype`: how matrices are held in memory (docs/model_format.md).
enum class WeightsDtype { kAuto, kF32, kBF16, kQ8_0, kQ4_1 };

// `--expert-dtype`: how tables of experts and values are held. kAuto follows an explicit f32 or
// bf16 of WeightsDtype, else what is stored.
enum class ExpertDtype { kAuto, kF32, kBF16, kInt8, kInt4 };

std::string_view Name(kernels::WeightFormat format);
std::string_view Name(kernels::ExpertFormat format);

// The format a matrix is held in. Embedding and head never go below q8_0; rows that are not whole
// blocks of 32 stay f32.
kernels::WeightFormat FormatOf(const TensorInfo& matrix, WeightsDtype dtype);

// The format a table is held in. Precondition: `stored` is a plain type.
kernels::ExpertFormat TableFormat(TensorType stored, ExpertDtype dtype, WeightsDtype weights);

}  // namespace peerage::nn
