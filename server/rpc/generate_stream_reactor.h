#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <memory>
#include <utility>
#include <vector>

#include "peerage/v1/inference.pb.h"
#include "server/engine/engine.h"
#include "server/engine/request.h"
#include "server/engine/response_sink.h"
#include "server/rpc/backend.h"
#include "server/rpc/queued_stream.h"
#include "server/rpc/submitted_request.h"
#include "server/rpc/trace_answer.h"

namespace peerage {

// What a stream knows before its first step.
struct GenerateStreamOpening {
  v1::Started started;
  uint32_t tokens_per_message = 1;
};

// One GenerateStream call: started, deltas, one finished for each candidate. A delta waits for
// `tokens_per_message` tokens of its candidate, the first of each is sent at once.
//
// At most kMaxQueuedTokens tokens wait for a slow reader; then the engine leaves the request alone
// until there is room.
//
// Threads: the engine delivers from its worker's thread, gRPC reacts on its own. The object lives
// until both have let go of it.
class GenerateStreamReactor final
    : public QueuedStream<grpc::ServerWriteReactor<v1::GenerateStreamResponse>,
                          v1::GenerateStreamResponse>,
      public ResponseSink,
      public std::enable_shared_from_this<GenerateStreamReactor> {
 public:
  static constexpr int kMaxQueuedTokens = 256;

  // Submits the request; a refusal finishes the call.
  static GenerateStreamReactor* Start(const Backend& backend, GenerateRequest request,
                                      grpc::CallbackServerContext* context,
                                      GenerateStreamOpening opening);

  using QueuedStream::OnDone;

  // ResponseSink:
  void OnStarted() override;
  void OnPromptLogprobs(uint32_t first_position, std::vector<TokenLogprob> tokens) override;
  void OnDelta(TokenDelta delta) override;
  void OnPromptTrace(ExpertTrace trace) override { trace_.AddPrompt(std::move(trace)); }
  void OnFinished(CandidateFinish finish) override;
  void OnDone(absl::Status status, const Timings& timings) override;
  bool HasRoom() const override { return queue_.HasRoom(); }

  // grpc::ServerWriteReactor:
  void OnWriteDone(bool ok) override;
  void OnCancel() override { submitted_.Cancel(); }

 private:
  GenerateStreamReactor(const Backend& backend, const GenerateRequest& request,
                        grpc::CallbackServerContext* context, GenerateStreamOpening opening);

  v1::Finished ToFinished(const CandidateFinish& finish);
  void PushFinished(v1::Finished finished);
  // Sends what has gathered for a candidate.
  void Flush(uint32_t candidate);

  Engine* const engine_;
  BackgroundLane* const answers_;
  const GenerateStreamOpening opening_;
  SubmittedRequest submitted_;

  // The engine's alone.
  std::vector<v1::Delta> gathered_;      // [candidates]
  std::vector<bool> has_sent_;           // [candidates]
  bool has_finished_candidate_ = false;  // the prompt's tokens are reported with the first
  TraceAnswer trace_;                    // of what the next `finished` reports
};

}  // namespace peerage
