#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "peerage/v1/inference.pb.h"
#include "server/engine/request.h"
#include "server/engine/response_sink.h"
#include "server/rpc/engine_call.h"
#include "server/rpc/grpc_status.h"
#include "server/rpc/message_bytes.h"
#include "server/rpc/reactors.h"
#include "server/rpc/to_proto.h"

namespace peerage {

// A call that is answered once, when the engine is done: what it delivers gathers in `response`.
// Started by StartCall.
template <typename Response>
class UnaryCall : public SharedReactor<grpc::ServerUnaryReactor>,
                  public EngineCall,
                  public std::enable_shared_from_this<UnaryCall<Response>> {
 public:
  // `in` and `out` are gRPC's and live as long as the call.
  UnaryCall(const Backend& backend, Call call, grpc::CallbackServerContext* context,
            const grpc::ByteBuffer* in, grpc::ByteBuffer* out)
      : EngineCall(backend, std::move(call)), context_(context), in_(in), out_(out) {}

  using SharedReactor::OnDone;

  // ResponseSink:
  void OnStarted(uint32_t cached_tokens) override {
    EngineCall::OnStarted(cached_tokens);
    v1::Usage& usage = *response_.mutable_usage();
    usage.set_cached_prompt_tokens(std::min(cached_tokens, usage.prompt_tokens()));
  }
  void OnDone(absl::Status status, const Timings& timings) override {
    *response_.mutable_timings() = ToProto(timings);
    Answer([self = this->shared_from_this(), status = std::move(status)] {
      if (status.ok() && self->trace().wanted()) {
        *self->response_.mutable_expert_trace() = self->trace().Cut().ToProto();
      }
      self->hidden().MoveTo(*self->response_.mutable_hidden_states());
      self->End(status);
    });
  }

  // grpc::ServerUnaryReactor:
  void OnCancel() override { CancelRequest(); }

 protected:
  void Refused(const absl::Status& status) override { End(status); }

  const grpc::ByteBuffer& in() const { return *in_; }
  Response& response() { return response_; }

 private:
  void End(absl::Status status) {
    if (status.ok()) status = backend().readers->CheckRoom();
    if (status.ok()) *out_ = SerializeMessage(response_, backend().readers->unsent());
    // Its bytes may wait for long, and it takes a multiple of them.
    Response().Swap(&response_);
    Finish(ToGrpcStatus(status, *context_));
  }

  grpc::CallbackServerContext* const context_;
  const grpc::ByteBuffer* const in_;
  grpc::ByteBuffer* const out_;
  Response response_;
};

// One Generate call.
class GenerateCall final : public UnaryCall<v1::GenerateResponse> {
 public:
  using UnaryCall::UnaryCall;

  absl::StatusOr<GenerateRequest> Read();

  void OnPromptLogprobs(uint32_t first_position, std::vector<TokenLogprob> tokens) override;
  void OnDelta(TokenDelta delta) override;
  void OnFinished(CandidateFinish finish) override;
};

// One Score call.
class ScoreCall final : public UnaryCall<v1::ScoreResponse> {
 public:
  using UnaryCall::UnaryCall;

  absl::StatusOr<ScoreRequest> Read();

  void OnScore(ContinuationScore score) override;
};

}  // namespace peerage
