#include "server/rpc/score_stream_reactor.h"

#include <grpcpp/impl/codegen/proto_utils.h>

#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "server/engine/response_sink.h"
#include "server/rpc/grpc_status.h"
#include "server/rpc/opening.h"
#include "server/rpc/prepare.h"
#include "server/rpc/submitted_request.h"
#include "server/rpc/to_proto.h"
#include "server/rpc/trace_answer.h"

namespace peerage {
namespace {

absl::StatusOr<v1::ScoreStreamRequest> Parse(grpc::ByteBuffer& bytes, uint64_t index) {
  v1::ScoreStreamRequest item;
  if (grpc::SerializationTraits<v1::ScoreStreamRequest>::Deserialize(&bytes, &item).ok()) {
    return item;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("item ", index, " of the stream is not a valid ScoreStreamRequest"));
}

grpc::ByteBuffer Serialize(const v1::ScoreStreamResponse& response) {
  grpc::ByteBuffer bytes;
  bool owned = false;
  // Fails for no message that is complete, and proto3's are.
  (void)grpc::SerializationTraits<v1::ScoreStreamResponse>::Serialize(response, &bytes, &owned);
  return bytes;
}

}  // namespace

// One request of the stream, until it is answered.
class ScoreStreamReactor::Item final : public ResponseSink,
                                       public std::enable_shared_from_this<Item> {
 public:
  Item(std::shared_ptr<ScoreStreamReactor> stream, std::string id)
      : stream_(std::move(stream)), submitted_(stream_->backend_.engine) {
    answer_.set_id(std::move(id));
  }

  void Submit(const v1::ScoreRequest& request) {
    const Backend& backend = stream_->backend_;
    Call call = stream_->call_;
    call.arrival = backend.clock->Now();
    absl::StatusOr<ScoreRequest> prepared = Prepare(request, backend, call, "request.");
    if (!prepared.ok()) return Fail(prepared.status());
    *answer_.mutable_response() = OpenScore(*prepared, *backend.model);
    trace_.emplace(prepared->trace, backend.model->description.expert_layers);
    const auto handle = backend.engine->Submit(*std::move(prepared), shared_from_this());
    if (!handle.ok()) return Fail(handle.status());
    submitted_.Accepted(*handle);
  }

  void Cancel() { submitted_.Cancel(); }

  void OnStarted() override {}

  void OnPromptTrace(ExpertTrace trace) override { trace_->AddPrompt(std::move(trace)); }

  void OnScore(ContinuationScore score) override {
    AddScore(score, *stream_->backend_.model->tokenizer, *answer_.mutable_response());
    trace_->AddPart(score.continuation, std::move(score.trace));
  }

  void OnDone(absl::Status status, const Timings& timings) override {
    if (!status.ok()) return Fail(status);
    *answer_.mutable_response()->mutable_timings() = ToProto(timings);
    if (!trace_->wanted()) return stream_->Answer(shared_from_this(), answer_);
    stream_->backend_.answers->Run([self = shared_from_this()] {
      *self->answer_.mutable_response()->mutable_expert_trace() = self->trace_->ToProto();
      self->stream_->Answer(self, self->answer_);
    });
  }

 private:
  void Fail(const absl::Status& status) {
    *answer_.mutable_error() = ToRpcStatus(status);
    stream_->Answer(shared_from_this(), answer_);
  }

  const std::shared_ptr<ScoreStreamReactor> stream_;
  SubmittedRequest submitted_;
  v1::ScoreStreamResponse answer_;
  std::optional<TraceAnswer> trace_;  // once prepared
};

ScoreStreamReactor* ScoreStreamReactor::Start(const Backend& backend, Call call,
                                              grpc::CallbackServerContext* context) {
  const std::shared_ptr<ScoreStreamReactor> reactor(
      new ScoreStreamReactor(backend, std::move(call), context));
  reactor->HoldUntilDone(reactor);
  reactor->Proceed();
  return reactor.get();
}

void ScoreStreamReactor::OnReadDone(bool ok) {
  const absl::Status status = ok ? Submit() : absl::OkStatus();
  {
    absl::MutexLock lock(&mu_);
    reading_ = false;
    if (!ok || !status.ok()) read_all_ = true;
    read_status_ = status;
  }
  Proceed();
}

absl::Status ScoreStreamReactor::Submit() {
  ASSIGN_OR_RETURN(v1::ScoreStreamRequest request, Parse(incoming_, items_read_));
  ++items_read_;
  const auto item = std::make_shared<Item>(shared_from_this(), std::move(*request.mutable_id()));
  {
    absl::MutexLock lock(&mu_);
    if (cancelled_) return absl::OkStatus();
    items_.insert(item);
    ++in_window_;
  }
  item->Submit(request.request());
  return absl::OkStatus();
}

void ScoreStreamReactor::Answer(const std::shared_ptr<Item>& item,
                                const v1::ScoreStreamResponse& response) {
  Do(queue_.Push(Serialize(response), 1));
  {
    absl::MutexLock lock(&mu_);
    items_.erase(item);
  }
  EndWhenDone();
}

void ScoreStreamReactor::OnWriteDone(bool ok) {
  Do(queue_.WriteDone(ok));
  {
    absl::MutexLock lock(&mu_);
    --in_window_;
  }
  Proceed();
}

void ScoreStreamReactor::OnCancel() {
  std::unordered_set<std::shared_ptr<Item>> items;
  {
    absl::MutexLock lock(&mu_);
    cancelled_ = true;
    items = items_;
  }
  for (const std::shared_ptr<Item>& item : items) item->Cancel();
  EndWhenDone();
}

void ScoreStreamReactor::Proceed() {
  EndWhenDone();
  {
    absl::MutexLock lock(&mu_);
    if (read_all_ || cancelled_ || reading_ || in_window_ == kWindow) return;
    reading_ = true;
  }
  StartRead(&incoming_);
}

void ScoreStreamReactor::EndWhenDone() {
  absl::Status status;
  {
    absl::MutexLock lock(&mu_);
    if (!items_.empty()) return;
    if (!cancelled_ && (!read_all_ || in_window_ > 0)) return;
    status = cancelled_ ? absl::CancelledError("the call was cancelled") : read_status_;
  }
  Do(queue_.Close(std::move(status)));
}

}  // namespace peerage
