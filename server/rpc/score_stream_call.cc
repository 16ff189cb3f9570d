#include "server/rpc/score_stream_call.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "server/engine/deadline.h"
#include "server/engine/response_sink.h"
#include "server/rpc/engine_call.h"
#include "server/rpc/grpc_status.h"
#include "server/rpc/message_bytes.h"
#include "server/rpc/request/read_request.h"
#include "server/rpc/to_proto.h"

namespace peerage {

// One request of the stream, until it is answered.
class ScoreStreamCall::Item final : public EngineCall, public std::enable_shared_from_this<Item> {
 public:
  Item(std::shared_ptr<ScoreStreamCall> stream, Call call, v1::ScoreStreamRequest message)
      : EngineCall(stream->backend_, std::move(call)),
        stream_(std::move(stream)),
        message_(std::move(message)) {
    response_.set_id(std::move(*message_.mutable_id()));
  }

  absl::StatusOr<ScoreRequest> Read() {
    const v1::ScoreRequest message = std::move(*message_.mutable_request());
    ASSIGN_OR_RETURN(ScoreRequest request,
                     ReadRequest(message, *backend().model, call(), "request."));
    KeepControl(message);
    *response_.mutable_response() = NewScoreResponse(request, *backend().model);
    return request;
  }

  void OnStarted(uint32_t cached_tokens) override {
    EngineCall::OnStarted(cached_tokens);
    response_.mutable_response()->mutable_usage()->set_cached_prompt_tokens(cached_tokens);
  }

  void OnScore(ContinuationScore score) override {
    AddScore(score, *backend().model->tokenizer, *response_.mutable_response());
    AddPartTrace(score.continuation, std::move(score.trace));
  }

  void OnDone(absl::Status status, const Timings& timings) override {
    *response_.mutable_response()->mutable_timings() = ToProto(timings);
    Answer([self = shared_from_this(), status = std::move(status)] {
      if (!status.ok()) return self->Refused(status);
      if (self->trace().wanted()) {
        *self->response_.mutable_response()->mutable_expert_trace() = self->trace().Cut().ToProto();
      }
      self->hidden().MoveTo(*self->response_.mutable_response()->mutable_hidden_states());
      self->stream_->Answer(self, self->response_);
    });
  }

 private:
  void Refused(const absl::Status& status) override {
    *response_.mutable_error() = ToRpcStatus(status);
    stream_->Answer(shared_from_this(), response_);
  }

  const std::shared_ptr<ScoreStreamCall> stream_;
  v1::ScoreStreamRequest message_;  // until it is read
  v1::ScoreStreamResponse response_;
};

ScoreStreamCall* ScoreStreamCall::Start(const Backend& backend, Call call,
                                        grpc::CallbackServerContext* context) {
  const auto reactor = Held(new ScoreStreamCall(backend, std::move(call), context));
  reactor->Proceed();
  return reactor.get();
}

void ScoreStreamCall::OnReadDone(bool ok) {
  {
    absl::MutexLock lock(&mu_);
    waits_for_client_ = false;
  }
  if (!ok) return EndReading(absl::OkStatus());
  EndWhenDone();  // a cancellation may have come meanwhile
  backend_.texts->RunInTurn(CallerOf(call_), incoming_.Length(),
                            [self = shared_from_this()] { self->Submit(); });
}

void ScoreStreamCall::Submit() {
  auto message = ParseMessage<v1::ScoreStreamRequest>(
      incoming_, absl::StrCat("item ", items_read_, " of the stream"));
  if (!message.ok()) return EndReading(message.status());
  ++items_read_;
  Call call = call_;
  call.arrival = backend_.clock->Now();
  const auto item =
      std::make_shared<Item>(shared_from_this(), std::move(call), *std::move(message));
  if (Expect(item)) item->ReadAndSubmit(absl::OkStatus(), item);
  {
    absl::MutexLock lock(&mu_);
    reading_ = false;
  }
  Proceed();
}

bool ScoreStreamCall::Expect(const std::shared_ptr<Item>& item) {
  absl::MutexLock lock(&mu_);
  if (cancelled_) return false;
  items_.insert(item);
  ++in_window_;
  return true;
}

void ScoreStreamCall::EndReading(absl::Status status) {
  {
    absl::MutexLock lock(&mu_);
    reading_ = false;
    read_all_ = true;
    read_status_ = std::move(status);
  }
  Proceed();
}

void ScoreStreamCall::Answer(const std::shared_ptr<Item>& item,
                             const v1::ScoreStreamResponse& response) {
  Do(queue_.Push(SerializeMessage(response, backend_.readers->unsent()), 1));
  {
    absl::MutexLock lock(&mu_);
    items_.erase(item);
  }
  EndWhenDone();
}

void ScoreStreamCall::OnWriteDone(bool ok) {
  Do(queue_.WriteDone(ok));
  {
    absl::MutexLock lock(&mu_);
    --in_window_;
  }
  Proceed();
}

void ScoreStreamCall::OnCancel() {
  std::unordered_set<std::shared_ptr<Item>> items;
  {
    absl::MutexLock lock(&mu_);
    cancelled_ = true;
    items = items_;
  }
  for (const std::shared_ptr<Item>& item : items) item->CancelRequest();
  EndWhenDone();
}

void ScoreStreamCall::Proceed() {
  EndWhenDone();
  {
    absl::MutexLock lock(&mu_);
    if (read_all_ || cancelled_ || reading_ || in_window_ == kWindow) return;
    reading_ = waits_for_client_ = true;
  }
  StartRead(&incoming_);
}

void ScoreStreamCall::EndWhenDone() {
  absl::Status status;
  {
    absl::MutexLock lock(&mu_);
    // An outstanding read needs the call, and fails at once when that is cancelled.
    if (!items_.empty() || waits_for_client_) return;
    if (!cancelled_ && (!read_all_ || in_window_ > 0)) return;
    status = cancelled_ ? CancelledAt(backend_.clock->Now(), call_.arrival, call_.deadline)
                        : read_status_;
  }
  Do(queue_.Close(std::move(status)));
}

}  // namespace peerage
