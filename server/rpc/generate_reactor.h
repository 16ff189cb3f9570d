#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include "peerage/v1/inference.pb.h"
#include "server/engine/engine.h"
#include "server/engine/request.h"
#include "server/engine/response_sink.h"
#include "server/rpc/shared_reactor.h"
#include "server/rpc/submitted_request.h"

namespace peerage {

// One Generate call: gathers what the engine delivers and answers when it is done.
//
// Threads: the engine delivers from its worker's thread, gRPC cancels from its own. The object
// lives until both have let go of it.
class GenerateReactor final : public SharedReactor<grpc::ServerUnaryReactor>, public ResponseSink {
 public:
  // Submits the request; a refusal finishes the call. `response` already holds what is known
  // beforehand (id, sampling, model, prompt tokens), one candidate for each that was asked for.
  static GenerateReactor* Start(Engine* engine, GenerateRequest request,
                                grpc::CallbackServerContext* context,
                                v1::GenerateResponse* response);

  using SharedReactor::OnDone;

  // ResponseSink:
  void OnStarted() override {}
  void OnPromptLogprobs(uint32_t first_position, std::vector<TokenLogprob> tokens) override;
  void OnDelta(TokenDelta delta) override;
  void OnFinished(CandidateFinish finish) override;
  void OnDone(absl::Status status, const Timings& timings) override;

  // grpc::ServerUnaryReactor:
  void OnCancel() override { submitted_.Cancel(); }

 private:
  GenerateReactor(Engine* engine, grpc::CallbackServerContext* context,
                  v1::GenerateResponse* response)
      : context_(context), response_(response), submitted_(engine) {}

  grpc::CallbackServerContext* const context_;
  v1::GenerateResponse* const response_;
  SubmittedRequest submitted_;
};

}  // namespace peerage
