#pragma once

#include <string>

#include "absl/status/status.h"

namespace peerage {

// gRPC's codes, OK to UNAUTHENTICATED.
inline constexpr int kNumCodes = 17;

// The code, or UNKNOWN for one from outside the set.
inline int KnownCode(absl::StatusCode code) {
  const int number = static_cast<int>(code);
  return number >= 0 && number < kNumCodes ? number : static_cast<int>(absl::StatusCode::kUnknown);
}

// Precondition: 0 <= code < kNumCodes.
inline std::string CodeLabel(int code) {
  return absl::StatusCodeToString(static_cast<absl::StatusCode>(code));
}

}  // namespace peerage
