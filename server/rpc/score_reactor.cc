#include "server/rpc/score_reactor.h"

#include <memory>
#include <utility>

#include "server/rpc/grpc_status.h"
#include "server/rpc/to_proto.h"

namespace peerage {

ScoreReactor* ScoreReactor::Start(const Backend& backend, ScoreRequest request,
                                  grpc::CallbackServerContext* context,
                                  v1::ScoreResponse* response) {
  const std::shared_ptr<ScoreReactor> reactor(
      new ScoreReactor(backend, request.trace, context, response));
  reactor->HoldUntilDone(reactor);
  absl::StatusOr<RequestHandle> handle = backend.engine->Submit(std::move(request), reactor);
  if (handle.ok()) {
    reactor->submitted_.Accepted(*handle);
  } else {
    reactor->Finish(ToGrpcStatus(handle.status(), *context));
  }
  return reactor.get();
}

void ScoreReactor::OnScore(ContinuationScore score) {
  AddScore(score, *tokenizer_, *response_);
  trace_.AddPart(score.continuation, std::move(score.trace));
}

void ScoreReactor::OnDone(absl::Status status, const Timings& timings) {
  *response_->mutable_timings() = ToProto(timings);
  if (!status.ok() || !trace_.wanted()) return Finish(ToGrpcStatus(status, *context_));
  answers_->Run([self = shared_from_this()] {
    *self->response_->mutable_expert_trace() = self->trace_.ToProto();
    self->Finish(grpc::Status::OK);
  });
}

}  // namespace peerage
