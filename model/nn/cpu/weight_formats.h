#pragma once

#include "absl/strings/string_view.h"
#include "model/checkpoint/checkpoint.h"
#include "model/kernels/experts.h"
#include "model/kernels/linear.h"
#include "model/nn/load_options.h"

namespace peerage::nn::cpu {

absl::string_view Name(kernels::WeightFormat format);
absl::string_view Name(kernels::ExpertFormat format);

// The format a matrix is held in. Embedding and head never go below q8_0; rows that are not whole
// blocks of 32 stay f32.
kernels::WeightFormat FormatOf(const TensorInfo& matrix, WeightsDtype dtype);

// The format a table is held in. Precondition: `stored` is a plain type.
kernels::ExpertFormat TableFormat(TensorType stored, ExpertDtype dtype, WeightsDtype weights);

}  // namespace peerage::nn::cpu
