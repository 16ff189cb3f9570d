#pragma once

#include "absl/status/status.h"
#include "model/checkpoint/checkpoint.h"

namespace peerage::transform {

// Whether the model's weights can stand in for the base's: the same sizes, and the same function of
// the weights. (How long and where texts end is none of it.) An error names the first value that
// differs.
// Precondition: both are dense (dense_model.h).
absl::Status CheckSameShape(const ModelConfig& base, const ModelConfig& model);

// Whether both turn texts into the same tokens: the same vocabulary, and every token's own text and
// a sample encoded alike. An error names the first difference.
absl::Status CheckSameTokenizer(const TokenizerSource& base, const TokenizerSource& model);

}  // namespace peerage::transform
