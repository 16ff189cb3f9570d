#include "server/rpc/request/read_json_request.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "base/status_macros.h"
#include "peerage/v1/inference.pb.h"
#include "server/rpc/request/field_errors.h"
#include "server/rpc/request/read_request.h"

namespace peerage {
namespace {

// The parser's message begins with "(stopping.max_tokens): " and goes on with the value.
absl::string_view PathIn(absl::string_view message) {
  if (message.empty() || message[0] != '(') return "";
  const absl::string_view path = message.substr(1, message.find(')') - 1);
  const bool is_path = std::all_of(path.begin(), path.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.';
  });
  return is_path ? path : "";
}

absl::StatusOr<v1::GenerateRequest> Parse(absl::string_view json) {
  v1::GenerateRequest request;
  const auto status =
      google::protobuf::util::JsonStringToMessage({json.data(), json.size()}, &request);
  if (status.ok()) return request;
  const google::protobuf::StringPiece message = status.message();
  const absl::string_view path = PathIn({message.data(), message.size()});
  if (path.empty()) return absl::InvalidArgumentError("the body is no GenerateRequest in JSON");
  return FieldError(path, "has a value that does not fit it");
}

}  // namespace

absl::StatusOr<GenerateRequest> ReadJsonRequest(absl::string_view json, const ServedModel& model,
                                                const Call& call) {
  ASSIGN_OR_RETURN(const v1::GenerateRequest request, Parse(json));
  return ReadRequest(request, model, call);
}

}  // namespace peerage
