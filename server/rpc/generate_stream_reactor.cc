#include "server/rpc/generate_stream_reactor.h"

#include <memory>
#include <utility>

#include "server/rpc/to_proto.h"

namespace peerage {

GenerateStreamReactor::GenerateStreamReactor(const Backend& backend, const GenerateRequest& request,
                                             grpc::CallbackServerContext* context,
                                             GenerateStreamOpening opening)
    : QueuedStream(context, kMaxQueuedTokens),
      engine_(backend.engine),
      answers_(backend.answers),
      opening_(std::move(opening)),
      submitted_(backend.engine),
      gathered_(request.candidates),
      has_sent_(request.candidates, false),
      trace_(request.trace, backend.model->description.expert_layers) {
  for (uint32_t i = 0; i < request.candidates; ++i) gathered_[i].set_index(i);
}

GenerateStreamReactor* GenerateStreamReactor::Start(const Backend& backend, GenerateRequest request,
                                                    grpc::CallbackServerContext* context,
                                                    GenerateStreamOpening opening) {
  const std::shared_ptr<GenerateStreamReactor> reactor(
      new GenerateStreamReactor(backend, request, context, std::move(opening)));
  reactor->HoldUntilDone(reactor);
  absl::StatusOr<RequestHandle> handle = backend.engine->Submit(std::move(request), reactor);
  if (handle.ok()) {
    reactor->submitted_.Accepted(*handle);
  } else {
    reactor->Do(reactor->queue_.Close(handle.status()));
  }
  return reactor.get();
}

void GenerateStreamReactor::OnStarted() {
  v1::GenerateStreamResponse message;
  *message.mutable_started() = opening_.started;
  Do(queue_.Push(std::move(message), 0));
}

void GenerateStreamReactor::OnPromptLogprobs(uint32_t first_position,
                                             std::vector<TokenLogprob> tokens) {
  v1::GenerateStreamResponse message;
  message.mutable_prompt_logprobs()->set_first_position(first_position);
  for (const TokenLogprob& token : tokens) {
    *message.mutable_prompt_logprobs()->add_tokens() = ToProto(token);
  }
  Do(queue_.Push(std::move(message), static_cast<int>(tokens.size())));
}

void GenerateStreamReactor::OnDelta(TokenDelta delta) {
  v1::Delta& gathered = gathered_[delta.candidate];
  gathered.mutable_text()->append(delta.text);
  gathered.mutable_token_ids()->Add(delta.tokens.begin(), delta.tokens.end());
  for (const TokenLogprob& token : delta.logprobs) *gathered.add_logprobs() = ToProto(token);
  const auto tokens = static_cast<uint32_t>(gathered.token_ids_size());
  if (tokens >= opening_.tokens_per_message || (tokens > 0 && !has_sent_[delta.candidate])) {
    Flush(delta.candidate);
  }
}

void GenerateStreamReactor::Flush(uint32_t candidate) {
  v1::Delta& gathered = gathered_[candidate];
  if (gathered.token_ids_size() == 0 && gathered.text().empty()) return;
  has_sent_[candidate] = true;
  const int tokens = gathered.token_ids_size();
  v1::GenerateStreamResponse message;
  message.mutable_delta()->Swap(&gathered);
  gathered.set_index(candidate);
  Do(queue_.Push(std::move(message), tokens));
}

void GenerateStreamReactor::OnFinished(CandidateFinish finish) {
  Flush(finish.candidate);
  v1::Finished finished = ToFinished(finish);
  if (!trace_.wanted()) return PushFinished(std::move(finished));
  trace_.AddPart(finish.candidate, std::move(finish.trace));
  answers_->Run(
      [self = shared_from_this(), finished = std::move(finished), trace = trace_.Cut()]() mutable {
        *finished.mutable_expert_trace() = trace.ToProto();
        self->PushFinished(std::move(finished));
      });
}

v1::Finished GenerateStreamReactor::ToFinished(const CandidateFinish& finish) {
  v1::Finished finished;
  finished.set_index(finish.candidate);
  *finished.mutable_finish() = ToProto(finish);
  if (!std::exchange(has_finished_candidate_, true)) {
    finished.mutable_usage()->set_prompt_tokens(opening_.started.prompt_tokens());
  }
  finished.mutable_usage()->set_completion_tokens(finish.completion_tokens);
  *finished.mutable_timings() = ToProto(finish.timings);
  return finished;
}

void GenerateStreamReactor::PushFinished(v1::Finished finished) {
  v1::GenerateStreamResponse message;
  *message.mutable_finished() = std::move(finished);
  Do(queue_.Push(std::move(message), 0));
}

void GenerateStreamReactor::OnDone(absl::Status status, const Timings& timings) {
  if (!trace_.wanted()) return Do(queue_.Close(std::move(status)));
  // Behind the last `finished`.
  answers_->Run([self = shared_from_this(), status = std::move(status)] {
    self->Do(self->queue_.Close(status));
  });
}

void GenerateStreamReactor::OnWriteDone(bool ok) {
  if (!ok) submitted_.Cancel();
  Do(queue_.WriteDone(ok));
  if (queue_.TakeRoomAgain()) engine_->Wake();
}

}  // namespace peerage
