#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <memory>
#include <utility>

#include "peerage/v1/inference.pb.h"
#include "server/engine/engine.h"
#include "server/engine/request.h"
#include "server/engine/response_sink.h"
#include "server/rpc/backend.h"
#include "server/rpc/shared_reactor.h"
#include "server/rpc/submitted_request.h"
#include "server/rpc/trace_answer.h"

namespace peerage {

// One Generate call: gathers what the engine delivers and answers when it is done.
//
// Threads: the engine delivers from its worker's thread, gRPC cancels from its own. The object
// lives until both have let go of it.
class GenerateReactor final : public SharedReactor<grpc::ServerUnaryReactor>,
                              public ResponseSink,
                              public std::enable_shared_from_this<GenerateReactor> {
 public:
  // Submits the request; a refusal finishes the call. `response` already holds what is known
  // beforehand (id, sampling, model, prompt tokens), one candidate for each that was asked for.
  static GenerateReactor* Start(const Backend& backend, GenerateRequest request,
                                grpc::CallbackServerContext* context,
                                v1::GenerateResponse* response);

  using SharedReactor::OnDone;

  // ResponseSink:
  void OnStarted() override {}
  void OnPromptLogprobs(uint32_t first_position, std::vector<TokenLogprob> tokens) override;
  void OnDelta(TokenDelta delta) override;
  void OnPromptTrace(ExpertTrace trace) override { trace_.AddPrompt(std::move(trace)); }
  void OnFinished(CandidateFinish finish) override;
  void OnDone(absl::Status status, const Timings& timings) override;

  // grpc::ServerUnaryReactor:
  void OnCancel() override { submitted_.Cancel(); }

 private:
  GenerateReactor(const Backend& backend, ExpertTraceLevel trace,
                  grpc::CallbackServerContext* context, v1::GenerateResponse* response)
      : context_(context),
        response_(response),
        answers_(backend.answers),
        submitted_(backend.engine),
        trace_(trace, backend.model->description.expert_layers) {}

  grpc::CallbackServerContext* const context_;
  v1::GenerateResponse* const response_;
  BackgroundLane* const answers_;
  SubmittedRequest submitted_;
  TraceAnswer trace_;
};

}  // namespace peerage
