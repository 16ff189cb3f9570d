#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <memory>
#include <utility>

#include "model/tokenizer/tokenizer.h"
#include "peerage/v1/inference.pb.h"
#include "server/engine/request.h"
#include "server/engine/response_sink.h"
#include "server/rpc/backend.h"
#include "server/rpc/shared_reactor.h"
#include "server/rpc/submitted_request.h"
#include "server/rpc/trace_answer.h"

namespace peerage {

// One Score call: gathers the scores and answers when all are there.
//
// Threads: the engine delivers from its worker's thread, gRPC cancels from its own. The object
// lives until both have let go of it.
class ScoreReactor final : public SharedReactor<grpc::ServerUnaryReactor>,
                           public ResponseSink,
                           public std::enable_shared_from_this<ScoreReactor> {
 public:
  // Submits the request; a refusal finishes the call. `response` is as OpenScore made it.
  static ScoreReactor* Start(const Backend& backend, ScoreRequest request,
                             grpc::CallbackServerContext* context, v1::ScoreResponse* response);

  using SharedReactor::OnDone;

  // ResponseSink:
  void OnStarted() override {}
  void OnPromptTrace(ExpertTrace trace) override { trace_.AddPrompt(std::move(trace)); }
  void OnScore(ContinuationScore score) override;
  void OnDone(absl::Status status, const Timings& timings) override;

  // grpc::ServerUnaryReactor:
  void OnCancel() override { submitted_.Cancel(); }

 private:
  ScoreReactor(const Backend& backend, ExpertTraceLevel trace, grpc::CallbackServerContext* context,
               v1::ScoreResponse* response)
      : context_(context),
        response_(response),
        tokenizer_(backend.model->tokenizer),
        answers_(backend.answers),
        submitted_(backend.engine),
        trace_(trace, backend.model->description.expert_layers) {}

  grpc::CallbackServerContext* const context_;
  v1::ScoreResponse* const response_;
  const Tokenizer* const tokenizer_;
  BackgroundLane* const answers_;
  SubmittedRequest submitted_;
  TraceAnswer trace_;
};

}  // namespace peerage
