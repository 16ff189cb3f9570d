#pragma once

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "model/kernels/attention.h"

namespace peerage::kernels {

// Whether Attention takes heads of this size; a config may have larger ones.
inline absl::Status CheckHeadDim(int head_dim) {
  if (head_dim <= kMaxHeadDim) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("head_dim is ", head_dim, ", and attention takes at most ", kMaxHeadDim));
}

}  // namespace peerage::kernels
