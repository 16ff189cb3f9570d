#include "server/rpc/score_stream_call.h"

#include <grpcpp/impl/codegen/proto_utils.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "server/engine/response_sink.h"
#include "server/rpc/engine_call.h"
#include "server/rpc/grpc_status.h"
#include "server/rpc/request/read_request.h"
#include "server/rpc/to_proto.h"

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
class ScoreStreamCall::Item final : public EngineCall, public std::enable_shared_from_this<Item> {
 public:
  Item(std::shared_ptr<ScoreStreamCall> stream, std::string id)
      : EngineCall(stream->backend_), stream_(std::move(stream)) {
    response_.set_id(std::move(id));
  }

  void Start(const v1::ScoreRequest& request) {
    const ServedModel& model = *backend().model;
    Call call = stream_->call_;
    call.arrival = backend().clock->Now();
    absl::StatusOr<ScoreRequest> read =
        TellRefusal(ReadRequest(request, model, call, "request."), call, backend());
    if (!read.ok()) return Refused(read.status());
    *response_.mutable_response() = NewScoreResponse(*read, model);
    Submit(*std::move(read), shared_from_this());
  }

  void OnScore(ContinuationScore score) override {
    AddScore(score, *backend().model->tokenizer, *response_.mutable_response());
    trace().AddPart(score.continuation, std::move(score.trace));
  }

  void OnDone(absl::Status status, const Timings& timings) override {
    if (!status.ok()) return Refused(status);
    *response_.mutable_response()->mutable_timings() = ToProto(timings);
    Answer([self = shared_from_this()] {
      if (self->trace().wanted()) {
        *self->response_.mutable_response()->mutable_expert_trace() = self->trace().ToProto();
      }
      self->stream_->Answer(self, self->response_);
    });
  }

 private:
  void Refused(const absl::Status& status) override {
    *response_.mutable_error() = ToRpcStatus(status);
    stream_->Answer(shared_from_this(), response_);
  }

  const std::shared_ptr<ScoreStreamCall> stream_;
  v1::ScoreStreamResponse response_;
};

ScoreStreamCall* ScoreStreamCall::Start(const Backend& backend, Call call,
                                        grpc::CallbackServerContext* context) {
  const auto reactor = Held(new ScoreStreamCall(backend, std::move(call), context));
  reactor->Proceed();
  return reactor.get();
}

void ScoreStreamCall::OnReadDone(bool ok) {
  const absl::Status status = ok ? Submit() : absl::OkStatus();
  {
    absl::MutexLock lock(&mu_);
    reading_ = false;
    if (!ok || !status.ok()) read_all_ = true;
    read_status_ = status;
  }
  Proceed();
}

absl::Status ScoreStreamCall::Submit() {
  ASSIGN_OR_RETURN(v1::ScoreStreamRequest request, Parse(incoming_, items_read_));
  ++items_read_;
  const auto item = std::make_shared<Item>(shared_from_this(), std::move(*request.mutable_id()));
  {
    absl::MutexLock lock(&mu_);
    if (cancelled_) return absl::OkStatus();
    items_.insert(item);
    ++in_window_;
  }
  item->Start(request.request());
  return absl::OkStatus();
}

void ScoreStreamCall::Answer(const std::shared_ptr<Item>& item,
                             const v1::ScoreStreamResponse& response) {
  Do(queue_.Push(Serialize(response), 1));
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
    reading_ = true;
  }
  StartRead(&incoming_);
}

void ScoreStreamCall::EndWhenDone() {
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
