#include "server/rpc/generate_reactor.h"

#include <memory>
#include <utility>

#include "server/rpc/grpc_status.h"
#include "server/rpc/to_proto.h"

namespace peerage {

GenerateReactor* GenerateReactor::Start(const Backend& backend, GenerateRequest request,
                                        grpc::CallbackServerContext* context,
                                        v1::GenerateResponse* response) {
  const std::shared_ptr<GenerateReactor> reactor(
      new GenerateReactor(backend, request.trace, context, response));
  reactor->HoldUntilDone(reactor);
  absl::StatusOr<RequestHandle> handle = backend.engine->Submit(std::move(request), reactor);
  if (handle.ok()) {
    reactor->submitted_.Accepted(*handle);
  } else {
    reactor->Finish(ToGrpcStatus(handle.status(), *context));
  }
  return reactor.get();
}

void GenerateReactor::OnPromptLogprobs(uint32_t first_position, std::vector<TokenLogprob> tokens) {
  for (const TokenLogprob& token : tokens) *response_->add_prompt_logprobs() = ToProto(token);
}

void GenerateReactor::OnDelta(TokenDelta delta) {
  v1::Candidate& candidate = *response_->mutable_candidates(delta.candidate);
  candidate.mutable_text()->append(delta.text);
  candidate.mutable_token_ids()->Add(delta.tokens.begin(), delta.tokens.end());
  for (const TokenLogprob& token : delta.logprobs) *candidate.add_logprobs() = ToProto(token);
}

void GenerateReactor::OnFinished(CandidateFinish finish) {
  *response_->mutable_candidates(finish.candidate)->mutable_finish() = ToProto(finish);
  v1::Usage& usage = *response_->mutable_usage();
  usage.set_completion_tokens(usage.completion_tokens() + finish.completion_tokens);
  trace_.AddPart(finish.candidate, std::move(finish.trace));
}

void GenerateReactor::OnDone(absl::Status status, const Timings& timings) {
  *response_->mutable_timings() = ToProto(timings);
  if (!status.ok() || !trace_.wanted()) return Finish(ToGrpcStatus(status, *context_));
  answers_->Run([self = shared_from_this()] {
    *self->response_->mutable_expert_trace() = self->trace_.ToProto();
    self->Finish(grpc::Status::OK);
  });
}

}  // namespace peerage
