#include "server/pages/error_response.h"

#include "absl/strings/str_cat.h"

namespace peerage {
namespace {

int HttpStatus(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kFailedPrecondition:
      return 400;
    case absl::StatusCode::kNotFound:
      return 404;
    case absl::StatusCode::kResourceExhausted:
      return 429;
    case absl::StatusCode::kUnavailable:
      return 503;
    default:
      return 500;
  }
}

}  // namespace

AdminResponse ErrorResponse(const absl::Status& status) {
  AdminResponse response{.status = HttpStatus(status.code()),
                         .body = absl::StrCat(status.message(), "\n")};
  if (response.status == 429 || response.status == 503) {
    response.headers = {{"Retry-After", "1"}};
  }
  return response;
}

}  // namespace peerage
