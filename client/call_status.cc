#include "client/call_status.h"

#include <google/rpc/error_details.pb.h>

#include <vector>

#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

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

// The options of `peerage` that set a request's fields; of each field the name within its request.
constexpr struct {
  absl::string_view field;
  absl::string_view option;
} kOptions[] = {
    {"model", "--model"},
    {"prompt", "the prompt"},
    {"context", "the context"},
    {"continuations", "the continuation"},
    {"token_ids", "the token ids"},
    {"expert_trace", "--trace"},
    {"logprobs", "--logprobs"},
    {"output.expert_trace", "--trace"},
    {"output.logprobs", "--logprobs"},
    {"interval", "--watch"},
    {"layer", "--layer"},
    {"kind", "--kind"},
    {"window", "--window"},
    {"stopping.stop", "--stop"},
    {"stopping.max_tokens", "--max-tokens"},
    {"stopping.min_tokens", "--min-tokens"},
    {"sampling.temperature", "--temperature"},
    {"sampling.top_k", "--top-k"},
    {"sampling.top_p", "--top-p"},
    {"sampling.min_p", "--min-p"},
    {"sampling.candidates", "--candidates"},
    {"sampling.repetition_penalty", "--repetition-penalty"},
    {"sampling.frequency_penalty", "--frequency-penalty"},
    {"sampling.presence_penalty", "--presence-penalty"},
};

// What a user calls a field: "--stop (2.)" for "request.stopping.stop[1]", whose place is counted
// from 1; and where in a prompt: "the prompt (chat.messages[1].role)".
std::string OptionOf(absl::string_view field) {
  absl::ConsumePrefix(&field, "request.");
  for (const auto& [name, option] : kOptions) {
    absl::string_view rest = field;
    if (!absl::ConsumePrefix(&rest, name)) continue;
    if (!rest.empty() && rest.front() != '.' && rest.front() != '[') continue;
    std::vector<std::string> where;
    if (uint32_t index = 0; absl::ConsumePrefix(&rest, "[") &&
                            absl::SimpleAtoi(rest.substr(0, rest.find(']')), &index)) {
      where.push_back(absl::StrCat(index + 1, "."));
      rest.remove_prefix(rest.find(']') + 1);
    }
    absl::ConsumePrefix(&rest, ".");
    if (absl::StrContains(rest, "[")) where.emplace_back(rest);
    return where.empty() ? std::string(option)
                         : absl::StrCat(option, " (", absl::StrJoin(where, " "), ")");
  }
  return std::string(field);
}

std::string WhatWasRefused(const google::rpc::BadRequest& request) {
  std::vector<std::string> fields;
  for (const auto& violation : request.field_violations()) {
    fields.push_back(absl::StrCat(OptionOf(violation.field()), " ", violation.description()));
  }
  return absl::StrJoin(fields, "; ");
}

// Of gRPC's own words for a connection that failed: what the system said, which comes last.
absl::string_view Reason(absl::string_view message) {
  const bool long_winded = absl::StrContains(message, "failed to connect") ||
                           absl::StrContains(message, "DNS resolution failed");
  if (!long_winded) return message;
  const size_t last = message.rfind(": ");
  return last == message.npos ? message : message.substr(last + 2);
}

// Servers of ours say why they refuse; without that it was gRPC's own doing.
bool IsOfTheServer(const absl::Status& status) {
  return FindDetail<google::rpc::ErrorInfo>(status).has_value();
}

std::string WhatHappened(const absl::Status& status, const std::string& server) {
  const auto bad_request = FindDetail<google::rpc::BadRequest>(status);
  if (bad_request && bad_request->field_violations_size() > 0) return WhatWasRefused(*bad_request);
  if (absl::IsDeadlineExceeded(status) && !IsOfTheServer(status)) {
    return "no answer within --timeout";
  }
  if (!server.empty() && absl::IsUnavailable(status) && !IsOfTheServer(status)) {
    return absl::StrCat(
        "no answer from ", server, " (", Reason(status.message()),
        "): is peerage-server running there? --server or PEERAGE_SERVER names another");
  }
  return absl::StrReplaceAll(status.message(), {{"max_tokens", "--max-tokens"}});
}

}  // namespace

absl::Status FromRpcStatus(const google::rpc::Status& status) {
  absl::Status result(static_cast<absl::StatusCode>(status.code()), status.message());
  for (const google::protobuf::Any& detail : status.details()) {
    result.SetPayload(detail.type_url(), absl::Cord(detail.value()));
  }
  return result;
}

absl::Status FromGrpcStatus(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  google::rpc::Status details;
  if (!details.ParseFromString(status.error_details())) details.Clear();
  details.set_code(status.error_code());
  details.set_message(status.error_message());
  return FromRpcStatus(details);
}

std::optional<absl::Duration> RetryDelay(const absl::Status& status) {
  const auto retry = FindDetail<google::rpc::RetryInfo>(status);
  if (!retry) return std::nullopt;
  return absl::Seconds(retry->retry_delay().seconds()) +
         absl::Nanoseconds(retry->retry_delay().nanos());
}

std::string DescribeError(const absl::Status& status, const std::string& server) {
  std::string line =
      absl::StrCat(absl::StatusCodeToString(status.code()), ": ", WhatHappened(status, server));
  if (const auto delay = RetryDelay(status)) {
    absl::StrAppend(&line, " (try again in ", absl::ToDoubleSeconds(*delay), " s)");
  }
  return absl::StrReplaceAll(line, {{"\n", " "}});
}

}  // namespace peerage::client
