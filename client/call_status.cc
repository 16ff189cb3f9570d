#include "client/call_status.h"

#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>

#include <optional>
#include <vector>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"

namespace peerage::client {
namespace {

// The payload of type `Message`, if the status carries one that can be read.
template <typename Message>
std::optional<Message> FindDetail(const absl::Status& status) {
  const std::string url = absl::StrCat("type.googleapis.com/", Message::descriptor()->full_name());
  const absl::optional<absl::Cord> payload = status.GetPayload(url);
  Message message;
  if (!payload || !message.ParseFromString(std::string(*payload))) return std::nullopt;
  return message;
}

std::vector<std::string> Notes(const absl::Status& status) {
  std::vector<std::string> notes;
  if (const auto bad_request = FindDetail<google::rpc::BadRequest>(status)) {
    for (const auto& violation : bad_request->field_violations()) {
      notes.push_back(absl::StrCat(violation.field(), ": ", violation.description()));
    }
  }
  if (const auto retry = FindDetail<google::rpc::RetryInfo>(status)) {
    const double seconds = retry->retry_delay().seconds() + retry->retry_delay().nanos() * 1e-9;
    notes.push_back(absl::StrCat("try again in ", seconds, " s"));
  }
  return notes;
}

}  // namespace

absl::Status FromGrpcStatus(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  absl::Status result(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
  google::rpc::Status details;
  if (!details.ParseFromString(status.error_details())) return result;
  for (const google::protobuf::Any& detail : details.details()) {
    result.SetPayload(detail.type_url(), absl::Cord(detail.value()));
  }
  return result;
}

std::string DescribeError(const absl::Status& status) {
  std::string line = absl::StrCat(absl::StatusCodeToString(status.code()), ": ", status.message());
  const std::vector<std::string> notes = Notes(status);
  if (!notes.empty()) absl::StrAppend(&line, " (", absl::StrJoin(notes, "; "), ")");
  return absl::StrReplaceAll(line, {{"\n", " "}});
}

}  // namespace peerage::client
