#include "server/rpc/generate_stream_call.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/status_macros.h"
#include "server/rpc/request/read_request.h"
#include "server/rpc/to_proto.h"

namespace peerage {

absl::StatusOr<GenerateRequest> GenerateStreamCall::Read() {
  ASSIGN_OR_RETURN(const auto message,
                   ParseMessage<v1::GenerateStreamRequest>(*in_, "the request"));
  ASSIGN_OR_RETURN(GenerateRequest request, ReadRequest(message, *backend().model, call()));
  KeepControl(message.request());
  started_ = NewStarted(request, *backend().model);
  if (message.has_tokens_per_message()) {
    tokens_per_message_ = static_cast<int>(message.tokens_per_message());
  }
  gathered_.resize(request.candidates);
  has_sent_.resize(request.candidates);
  for (uint32_t i = 0; i < request.candidates; ++i) gathered_[i].set_index(i);
  return request;
}

void GenerateStreamCall::OnStarted(uint32_t cached_tokens) {
  EngineCall::OnStarted(cached_tokens);
  started_.set_cached_prompt_tokens(std::min(cached_tokens, started_.prompt_tokens()));
  v1::GenerateStreamResponse message;
  *message.mutable_started() = started_;
  Push(message, 0);
}

void GenerateStreamCall::OnPromptLogprobs(uint32_t first_position,
                                          std::vector<TokenLogprob> tokens) {
  v1::GenerateStreamResponse message;
  message.mutable_prompt_logprobs()->set_first_position(first_position);
  for (const TokenLogprob& token : tokens) {
    *message.mutable_prompt_logprobs()->add_tokens() = ToProto(token);
  }
  Push(message, static_cast<int>(tokens.size()));
}

void GenerateStreamCall::OnDelta(TokenDelta delta) {
  v1::Delta& gathered = gathered_[delta.candidate];
  gathered.mutable_text()->append(delta.text);
  gathered.mutable_token_ids()->Add(delta.tokens.begin(), delta.tokens.end());
  for (const TokenLogprob& token : delta.logprobs) *gathered.add_logprobs() = ToProto(token);
  const int tokens = gathered.token_ids_size();
  if (tokens >= tokens_per_message_ || (tokens > 0 && !has_sent_[delta.candidate])) {
    Flush(delta.candidate);
  }
}

void GenerateStreamCall::Flush(uint32_t candidate) {
  v1::Delta& gathered = gathered_[candidate];
  if (gathered.token_ids_size() == 0 && gathered.text().empty()) return;
  has_sent_[candidate] = true;
  const int tokens = gathered.token_ids_size();
  v1::GenerateStreamResponse message;
  message.mutable_delta()->Swap(&gathered);
  gathered.set_index(candidate);
  Push(message, tokens);
}

void GenerateStreamCall::OnFinished(CandidateFinish finish) {
  Flush(finish.candidate);
  AddPartTrace(finish.candidate, std::move(finish.trace));
  Answer([self = shared_from_this(), finished = ToFinished(finish),
          hidden = hidden().Cut()]() mutable {
    if (self->trace().wanted()) {
      *finished.mutable_expert_trace() = self->trace().Cut().ToProto();
    }
    hidden.MoveTo(*finished.mutable_hidden_states());
    self->PushFinished(std::move(finished));
  });
}

v1::Finished GenerateStreamCall::ToFinished(const CandidateFinish& finish) {
  v1::Finished finished;
  finished.set_index(finish.candidate);
  *finished.mutable_finish() = ToProto(finish);
  if (!std::exchange(has_finished_candidate_, true)) {
    finished.mutable_usage()->set_prompt_tokens(started_.prompt_tokens());
    finished.mutable_usage()->set_cached_prompt_tokens(started_.cached_prompt_tokens());
  }
  finished.mutable_usage()->set_completion_tokens(finish.completion_tokens);
  *finished.mutable_timings() = ToProto(finish.timings);
  return finished;
}

void GenerateStreamCall::PushFinished(v1::Finished finished) {
  v1::GenerateStreamResponse message;
  *message.mutable_finished() = std::move(finished);
  Push(message, 0);
}

void GenerateStreamCall::OnDone(absl::Status status, const Timings& timings) {
  Answer([self = shared_from_this(), status = std::move(status)] {
    self->Do(self->queue_.Close(status));
  });
}

void GenerateStreamCall::OnWriteDone(bool ok) {
  if (!ok) CancelRequest();
  Do(queue_.WriteDone(ok));
  if (queue_.TakeRoomAgain()) backend().engine->Wake();
}

}  // namespace peerage
