#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace peerage {

// What the server decides about who calls and what he asks for.
enum class Decision {
  kAllowed,
  kNoCredentials,  // and nobody may do that without
  kBadCredentials,
  kExpiredToken,
  kMethod,  // this and the next: the policy does not allow it
  kModel,
  kPriority,
  kTenant,
  kTraces,
  kHiddenStates,
  kExpertControl,
  kRequestRate,  // this and the next: too much of what is allowed
  kTokenRate,
  kConcurrency,
};
inline constexpr int kNumDecisions = static_cast<int>(Decision::kConcurrency) + 1;

// For metrics and logs: "allowed", "bad_credentials".
absl::string_view DecisionName(Decision decision);

// What the caller is told: UNAUTHENTICATED, PERMISSION_DENIED, or RESOURCE_EXHAUSTED with `retry`;
// OK when it is allowed. The texts are fixed: nothing of what a caller showed is in them, and who
// is not known does not learn why.
absl::Status ToStatus(Decision decision, absl::Duration retry = absl::ZeroDuration());

}  // namespace peerage
