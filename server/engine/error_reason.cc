#include "server/engine/error_reason.h"

#include "absl/strings/cord.h"

namespace peerage {

const char kErrorReasonUrl[] = "peerage.ErrorReason";

void SetErrorReason(absl::Status& status, absl::string_view reason) {
  status.SetPayload(kErrorReasonUrl, absl::Cord(reason));
}

std::string ErrorReasonOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kErrorReasonUrl);
  return payload.has_value() ? std::string(*payload) : std::string();
}

}  // namespace peerage
