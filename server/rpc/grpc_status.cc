#include "server/rpc/grpc_status.h"

#include <optional>
#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "google/rpc/error_details.pb.h"
#include "server/engine/error_reason.h"
#include "server/engine/retry_delay.h"

namespace peerage {
namespace {

constexpr size_t kMaxMessageBytes = 1024;
constexpr absl::Duration kElsewhere = absl::Seconds(1);  // until another server is found

absl::string_view UsualReason(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kInvalidArgument:
      return "INVALID_FIELD";
    case absl::StatusCode::kOutOfRange:
      return "DOES_NOT_FIT";
    case absl::StatusCode::kNotFound:
      return "MODEL_NOT_FOUND";
    case absl::StatusCode::kResourceExhausted:
      return "OVERLOADED";
    case absl::StatusCode::kUnavailable:
      return "NOT_SERVING";
    case absl::StatusCode::kDeadlineExceeded:
      return "TOO_LATE";
    case absl::StatusCode::kCancelled:
      return "CANCELLED";
    case absl::StatusCode::kFailedPrecondition:
      return "FEATURE_OFF";
    case absl::StatusCode::kPermissionDenied:
      return "NOT_LOCAL";
    default:
      return "MODEL_FAILED";
  }
}

std::string Reason(const absl::Status& status) {
  const std::string own = ErrorReasonOf(status);
  return own.empty() ? std::string(UsualReason(status.code())) : own;
}

std::optional<absl::Duration> RetryDelay(const absl::Status& status) {
  const std::optional<absl::Duration> known = RetryDelayOf(status);
  return absl::IsUnavailable(status) ? std::optional(known.value_or(kElsewhere)) : known;
}

// At most kMaxMessageBytes, never ending inside a code point.
absl::string_view Truncated(absl::string_view message) {
  if (message.size() <= kMaxMessageBytes) return message;
  size_t end = kMaxMessageBytes;
  while (end > 0 && (message[end] & 0xC0) == 0x80) --end;
  return message.substr(0, end);
}

}  // namespace

google::rpc::Status ToRpcStatus(const absl::Status& status) {
  google::rpc::Status result;
  result.set_code(static_cast<int>(status.code()));
  result.set_message(std::string(Truncated(status.message())));
  status.ForEachPayload([&result](absl::string_view type_url, const absl::Cord& payload) {
    if (type_url == kRetryDelayUrl || type_url == kErrorReasonUrl) return;
    auto* detail = result.add_details();
    detail->set_type_url(std::string(type_url));
    detail->set_value(std::string(payload));
  });
  google::rpc::ErrorInfo info;
  info.set_reason(Reason(status));
  info.set_domain("peerage");
  result.add_details()->PackFrom(info);
  if (const std::optional<absl::Duration> delay = RetryDelay(status)) {
    google::rpc::RetryInfo retry;
    absl::Duration fraction = *delay;
    retry.mutable_retry_delay()->set_seconds(
        absl::IDivDuration(fraction, absl::Seconds(1), &fraction));
    retry.mutable_retry_delay()->set_nanos(
        static_cast<int32_t>(absl::ToInt64Nanoseconds(fraction)));
    result.add_details()->PackFrom(retry);
  }
  return result;
}

grpc::Status ToGrpcStatus(const absl::Status& status, grpc::CallbackServerContext& context) {
  if (status.ok()) return grpc::Status::OK;
  const google::rpc::Status details = ToRpcStatus(status);
  if (const std::optional<absl::Duration> delay = RetryDelay(status)) {
    context.AddTrailingMetadata("grpc-retry-pushback-ms",
                                absl::StrCat(absl::ToInt64Milliseconds(*delay)));
  }
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), details.message(),
                      details.SerializeAsString());
}

}  // namespace peerage
