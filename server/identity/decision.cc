#include "server/identity/decision.h"

#include "server/engine/error_reason.h"
#include "server/engine/retry_delay.h"

namespace peerage {
namespace {

struct Row {
  absl::string_view name;
  absl::StatusCode code;
  absl::string_view text;
};

constexpr absl::string_view kUnknownCaller = "the call has no credentials that are valid here";

// In the order of Decision.
constexpr Row kRows[kNumDecisions] = {
    {"allowed", absl::StatusCode::kOk, ""},
    {"no_credentials", absl::StatusCode::kUnauthenticated, kUnknownCaller},
    {"bad_credentials", absl::StatusCode::kUnauthenticated, kUnknownCaller},
    {"expired_token", absl::StatusCode::kUnauthenticated, kUnknownCaller},
    {"method", absl::StatusCode::kPermissionDenied, "the policy does not allow this method"},
    {"model", absl::StatusCode::kPermissionDenied, "the policy does not allow this model"},
    {"priority", absl::StatusCode::kPermissionDenied,
     "scheduling.priority: the policy does not allow this one"},
    {"tenant", absl::StatusCode::kPermissionDenied,
     "scheduling.tenant: the policy does not allow this one"},
    {"traces", absl::StatusCode::kPermissionDenied,
     "expert_trace: the policy does not allow this level"},
    {"hidden_states", absl::StatusCode::kPermissionDenied,
     "hidden_states: the policy does not allow them"},
    {"expert_control", absl::StatusCode::kPermissionDenied,
     "expert_control: the policy does not allow it"},
    {"request_rate", absl::StatusCode::kResourceExhausted,
     "more requests a second than the policy allows"},
    {"token_rate", absl::StatusCode::kResourceExhausted,
     "more tokens a second than the policy allows"},
    {"concurrency", absl::StatusCode::kResourceExhausted,
     "more calls at the same time than the policy allows"},
};

// As clients' programs read it.
absl::string_view ReasonOf(absl::StatusCode code) {
  if (code == absl::StatusCode::kUnauthenticated) return "NOT_KNOWN";
  return code == absl::StatusCode::kPermissionDenied ? "NOT_ALLOWED" : "OVER_QUOTA";
}

const Row& RowOf(Decision decision) { return kRows[static_cast<int>(decision)]; }

}  // namespace

absl::string_view DecisionName(Decision decision) { return RowOf(decision).name; }

absl::Status ToStatus(Decision decision, absl::Duration retry) {
  const Row& row = RowOf(decision);
  if (decision == Decision::kAllowed) return absl::OkStatus();
  absl::Status status(row.code, row.text);
  SetErrorReason(status, ReasonOf(row.code));
  if (row.code == absl::StatusCode::kResourceExhausted) SetRetryDelay(status, retry);
  return status;
}

}  // namespace peerage
