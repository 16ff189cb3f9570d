#include "server/rpc/prepare.h"

#include <algorithm>

#include "base/status_macros.h"
#include "server/rpc/convert.h"
#include "server/rpc/trace_limits.h"
#include "server/rpc/validate.h"

namespace peerage {
namespace {

template <typename Request>
absl::StatusOr<Request> Counted(absl::StatusOr<Request> prepared, RequestKind kind,
                                const Backend& backend) {
  if (!prepared.ok()) {
    backend.observer->OnRequestDone({.kind = kind, .code = prepared.status().code()});
  }
  return prepared;
}

// What a unary answer has to hold in one message.
absl::Status CheckWholeAnswer(const GenerateRequest& request, uint64_t trace_bytes) {
  const int32_t prompt_alternatives =
      request.prompt_logprobs ? std::max(request.alternatives, 0) : -1;
  RETURN_IF_ERROR(CheckAnswerSize(request.prompt.size(), prompt_alternatives, trace_bytes));
  return CheckAnswerSize(uint64_t{request.candidates} * request.stopping.max_tokens,
                         request.alternatives, trace_bytes);
}

absl::Status CheckWholeAnswer(const ScoreRequest& request, uint64_t trace_bytes) {
  uint64_t scored = 0;
  for (const std::vector<TokenId>& tokens : request.continuations) scored += tokens.size();
  return CheckAnswerSize(scored, request.alternatives, trace_bytes);
}

// Bytes that the picks of a full trace take; an error when the server allows no such trace.
template <typename Request>
absl::StatusOr<uint64_t> ResolveTraceBytes(const Request& request, const Backend& backend) {
  const uint64_t bytes = FullTraceBytes(request, backend.model->description.expert_layers);
  RETURN_IF_ERROR(CheckTrace(request.trace, bytes, backend.trace_limits));
  return bytes;
}

absl::StatusOr<GenerateRequest> PrepareWhole(const v1::GenerateRequest& request,
                                             const Backend& backend,
                                             const absl::StatusOr<Call>& call) {
  RETURN_IF_ERROR(call.status());
  RETURN_IF_ERROR(Validate(request, *backend.model));
  ASSIGN_OR_RETURN(GenerateRequest prepared, Convert(request, *backend.model, *call));
  ASSIGN_OR_RETURN(const uint64_t trace_bytes, ResolveTraceBytes(prepared, backend));
  RETURN_IF_ERROR(CheckWholeAnswer(prepared, trace_bytes));
  return prepared;
}

absl::StatusOr<GenerateRequest> PrepareStream(const v1::GenerateStreamRequest& request,
                                              const Backend& backend,
                                              const absl::StatusOr<Call>& call) {
  RETURN_IF_ERROR(call.status());
  RETURN_IF_ERROR(Validate(request, *backend.model));
  ASSIGN_OR_RETURN(GenerateRequest prepared,
                   Convert(request.request(), *backend.model, *call, "request."));
  RETURN_IF_ERROR(ResolveTraceBytes(prepared, backend).status());
  return prepared;
}

absl::StatusOr<ScoreRequest> PrepareScore(const v1::ScoreRequest& request, const Backend& backend,
                                          const absl::StatusOr<Call>& call,
                                          absl::string_view prefix) {
  RETURN_IF_ERROR(call.status());
  RETURN_IF_ERROR(Validate(request, *backend.model, prefix));
  ASSIGN_OR_RETURN(ScoreRequest prepared, Convert(request, *backend.model, *call, prefix));
  ASSIGN_OR_RETURN(const uint64_t trace_bytes, ResolveTraceBytes(prepared, backend));
  RETURN_IF_ERROR(CheckWholeAnswer(prepared, trace_bytes));
  return prepared;
}

}  // namespace

absl::StatusOr<GenerateRequest> Prepare(const v1::GenerateRequest& request, const Backend& backend,
                                        const absl::StatusOr<Call>& call) {
  return Counted(PrepareWhole(request, backend, call), RequestKind::kGenerate, backend);
}

absl::StatusOr<GenerateRequest> Prepare(const v1::GenerateStreamRequest& request,
                                        const Backend& backend, const absl::StatusOr<Call>& call) {
  return Counted(PrepareStream(request, backend, call), RequestKind::kGenerate, backend);
}

absl::StatusOr<ScoreRequest> Prepare(const v1::ScoreRequest& request, const Backend& backend,
                                     const absl::StatusOr<Call>& call, absl::string_view prefix) {
  return Counted(PrepareScore(request, backend, call, prefix), RequestKind::kScore, backend);
}

}  // namespace peerage
