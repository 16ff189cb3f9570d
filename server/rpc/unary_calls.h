#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <memory>
#include <utility>
#include <vector>

#include "peerage/v1/inference.pb.h"
#include "server/engine/request.h"
#include "server/engine/response_sink.h"
#include "server/rpc/engine_call.h"
#include "server/rpc/grpc_status.h"
#include "server/rpc/reactors.h"
#include "server/rpc/to_proto.h"

namespace peerage {

// A call that is answered once, when the engine is done: what it delivers gathers in `response`.
// Started by StartCall; `response` already holds what is known beforehand (to_proto.h).
template <typename Response>
class UnaryCall : public SharedReactor<grpc::ServerUnaryReactor>,
                  public EngineCall,
                  public std::enable_shared_from_this<UnaryCall<Response>> {
 public:
  UnaryCall(const Backend& backend, grpc::CallbackServerContext* context, Response* response)
      : EngineCall(backend), context_(context), response_(response) {}

  using SharedReactor::OnDone;

  // ResponseSink:
  void OnDone(absl::Status status, const Timings& timings) override {
    *response_->mutable_timings() = ToProto(timings);
    Answer([self = this->shared_from_this(), status = std::move(status)] {
      if (status.ok() && self->trace().wanted()) {
        *self->response_->mutable_expert_trace() = self->trace().ToProto();
      }
      self->End(status);
    });
  }

  // grpc::ServerUnaryReactor:
  void OnCancel() override { CancelRequest(); }

 protected:
  void Refused(const absl::Status& status) override { End(status); }

  Response& response() { return *response_; }

 private:
  void End(const absl::Status& status) { Finish(ToGrpcStatus(status, *context_)); }

  grpc::CallbackServerContext* const context_;
  Response* const response_;
};

// One Generate call.
class GenerateCall final : public UnaryCall<v1::GenerateResponse> {
 public:
  using UnaryCall::UnaryCall;

  void OnPromptLogprobs(uint32_t first_position, std::vector<TokenLogprob> tokens) override;
  void OnDelta(TokenDelta delta) override;
  void OnFinished(CandidateFinish finish) override;
};

// One Score call.
class ScoreCall final : public UnaryCall<v1::ScoreResponse> {
 public:
  using UnaryCall::UnaryCall;

  void OnScore(ContinuationScore score) override;
};

}  // namespace peerage
