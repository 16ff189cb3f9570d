#include "server/rpc/prepare.h"

#include <algorithm>

#include "model/status_macros.h"
#include "server/rpc/convert.h"
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
absl::Status CheckWholeAnswer(const GenerateRequest& request) {
  const int32_t prompt_alternatives =
      request.prompt_logprobs ? std::max(request.alternatives, 0) : -1;
  RETURN_IF_ERROR(CheckAnswerSize(request.prompt.size(), prompt_alternatives));
  return CheckAnswerSize(uint64_t{request.candidates} * request.stopping.max_tokens,
                         request.alternatives);
}

absl::StatusOr<GenerateRequest> PrepareWhole(const v1::GenerateRequest& request,
                                             const Backend& backend,
                                             const absl::StatusOr<Call>& call) {
  RETURN_IF_ERROR(call.status());
  RETURN_IF_ERROR(Validate(request, *backend.model));
  ASSIGN_OR_RETURN(GenerateRequest prepared, Convert(request, *backend.model, *call));
  RETURN_IF_ERROR(CheckWholeAnswer(prepared));
  return prepared;
}

absl::StatusOr<GenerateRequest> PrepareStream(const v1::GenerateStreamRequest& request,
                                              const Backend& backend,
                                              const absl::StatusOr<Call>& call) {
  RETURN_IF_ERROR(call.status());
  RETURN_IF_ERROR(Validate(request, *backend.model));
  return Convert(request.request(), *backend.model, *call, "request.");
}

absl::StatusOr<ScoreRequest> PrepareScore(const v1::ScoreRequest& request, const Backend& backend,
                                          const absl::StatusOr<Call>& call,
                                          absl::string_view prefix) {
  RETURN_IF_ERROR(call.status());
  RETURN_IF_ERROR(Validate(request, *backend.model, prefix));
  return Convert(request, *backend.model, *call, prefix);
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
