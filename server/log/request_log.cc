#include "server/log/request_log.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace peerage {
namespace {

using Fields = std::vector<LogField>;

constexpr size_t kMaxTextBytes = 256;

// What is the server's fault, what its load's, and what the client's.
LogLevel LevelOf(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnknown:
    case absl::StatusCode::kDataLoss:
      return LogLevel::kError;
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kUnavailable:
      return LogLevel::kWarn;
    default:
      return LogLevel::kInfo;
  }
}

void AddText(absl::string_view key, const std::string& text, Fields& fields) {
  if (!text.empty()) fields.push_back({key, text.substr(0, kMaxTextBytes)});
}

void AddOrigin(const RequestOrigin& origin, Fields& fields) {
  AddText("request_id", origin.request_id, fields);
  AddText("method", origin.method, fields);
  AddText("principal", origin.principal, fields);
}

void AddTrace(const RequestOrigin& origin, Fields& fields) {
  AddText("trace_id", origin.trace_id, fields);
  AddText("span_id", origin.span_id, fields);
}

// As far as the request came.
void AddTimings(const RequestEvent& event, Fields& fields) {
  const Timings& timings = event.timings;
  if (event.admitted) fields.push_back({"queue_seconds", timings.queue});
  if (timings.time_to_first_token > absl::ZeroDuration()) {
    fields.push_back({"prefill_seconds", timings.prefill});
    fields.push_back({"decode_seconds", timings.decode});
    fields.push_back({"ttft_seconds", timings.time_to_first_token});
  }
  fields.push_back({"total_seconds", event.total});
}

// Requests of these calls are told one by one. What gRPC refused itself became none.
bool ToldAsRequest(const CallEvent& event) {
  constexpr absl::string_view kMethods[] = {"peerage.v1.InferenceService/Generate",
                                            "peerage.v1.InferenceService/GenerateStream",
                                            "peerage.v1.InferenceService/Score"};
  return event.code != absl::StatusCode::kUnimplemented &&
         absl::c_linear_search(kMethods, event.origin.method);
}

// Health checks and reflection come all the time and say nothing.
bool IsRoutine(const CallEvent& event) {
  return event.code == absl::StatusCode::kOk && absl::StartsWith(event.origin.method, "grpc.");
}

}  // namespace

void RequestLog::OnRequestDone(const RequestEvent& event) {
  const LogLevel level = LevelOf(event.code);
  if (!log_->Shows(level)) return;
  const std::string code = absl::StatusCodeToString(event.code);
  Fields fields;
  AddOrigin(event.origin, fields);
  AddText("tenant", event.tenant, fields);
  fields.push_back({"code", code});
  AddText("error", event.error, fields);
  fields.push_back({"prompt_tokens", int64_t{event.prompt_tokens}});
  if (event.cached_prompt_tokens > 0) {
    fields.push_back({"cached_prompt_tokens", int64_t{event.cached_prompt_tokens}});
  }
  const bool generates = event.kind == RequestKind::kGenerate;
  fields.push_back(
      {generates ? "generated_tokens" : "scored_tokens", int64_t{event.completion_tokens}});
  if (event.distinct_experts.has_value()) {
    fields.push_back({"distinct_experts", static_cast<int64_t>(*event.distinct_experts)});
  }
  AddTimings(event, fields);
  AddTrace(event.origin, fields);
  log_->WriteLimited(absl::StrCat("request ", code), level, "request", fields);
}

void RequestLog::OnStepFailed(const absl::Status& status) {
  const std::string code = absl::StatusCodeToString(status.code());
  Fields fields{{"code", code}};
  AddText("error", std::string(status.message()), fields);
  log_->WriteLimited("step failed", LogLevel::kError, "the model failed a step", fields);
}

void RequestLog::OnWorkerState(const WorkerEvent& event) {
  Fields fields{{"worker", int64_t{event.worker}}};
  const std::string state(ChoiceName(kWorkerStates, event.state));
  fields.push_back({"state", state});
  AddText("error", std::string(event.reason.message()), fields);
  const bool is_ready = event.state == WorkerState::kReady;
  log_->WriteLimited("worker", is_ready ? LogLevel::kInfo : LogLevel::kError, "worker", fields);
}

void RequestLog::OnCallDone(const CallEvent& event) {
  if (ToldAsRequest(event)) return;
  const LogLevel level = IsRoutine(event) ? LogLevel::kDebug : LevelOf(event.code);
  if (!log_->Shows(level)) return;
  const std::string code = absl::StatusCodeToString(event.code);
  Fields fields;
  AddOrigin(event.origin, fields);
  fields.push_back({"code", code});
  AddText("error", event.error, fields);
  fields.push_back({"total_seconds", event.duration});
  AddTrace(event.origin, fields);
  log_->WriteLimited(absl::StrCat("call ", code), level, "call", fields);
}

}  // namespace peerage
