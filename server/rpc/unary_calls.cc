#include "server/rpc/unary_calls.h"

#include "base/status_macros.h"
#include "server/rpc/request/read_request.h"

namespace peerage {

absl::StatusOr<GenerateRequest> GenerateCall::Read() {
  ASSIGN_OR_RETURN(const auto message, ParseMessage<v1::GenerateRequest>(in(), "the request"));
  ASSIGN_OR_RETURN(GenerateRequest request, ReadRequest(message, *backend().model, call()));
  KeepControl(message);
  response() = NewGenerateResponse(request, *backend().model);
  return request;
}

void GenerateCall::OnPromptLogprobs(uint32_t first_position, std::vector<TokenLogprob> tokens) {
  for (const TokenLogprob& token : tokens) *response().add_prompt_logprobs() = ToProto(token);
}

void GenerateCall::OnDelta(TokenDelta delta) {
  v1::Candidate& candidate = *response().mutable_candidates(static_cast<int>(delta.candidate));
  candidate.mutable_text()->append(delta.text);
  candidate.mutable_token_ids()->Add(delta.tokens.begin(), delta.tokens.end());
  for (const TokenLogprob& token : delta.logprobs) *candidate.add_logprobs() = ToProto(token);
}

void GenerateCall::OnFinished(CandidateFinish finish) {
  *response().mutable_candidates(static_cast<int>(finish.candidate))->mutable_finish() =
      ToProto(finish);
  v1::Usage& usage = *response().mutable_usage();
  usage.set_completion_tokens(usage.completion_tokens() + finish.completion_tokens);
  AddPartTrace(finish.candidate, std::move(finish.trace));
}

absl::StatusOr<ScoreRequest> ScoreCall::Read() {
  ASSIGN_OR_RETURN(const auto message, ParseMessage<v1::ScoreRequest>(in(), "the request"));
  ASSIGN_OR_RETURN(ScoreRequest request, ReadRequest(message, *backend().model, call()));
  KeepControl(message);
  response() = NewScoreResponse(request, *backend().model);
  return request;
}

void ScoreCall::OnScore(ContinuationScore score) {
  AddScore(score, *backend().model->tokenizer, response());
  AddPartTrace(score.continuation, std::move(score.trace));
}

}  // namespace peerage
