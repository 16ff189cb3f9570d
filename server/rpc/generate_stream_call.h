#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <memory>
#include <utility>
#include <vector>

#include "peerage/v1/inference.pb.h"
#include "server/engine/response_sink.h"
#include "server/rpc/engine_call.h"
#include "server/rpc/reactors.h"

namespace peerage {

// What a stream knows before its first step.
struct GenerateStreamStart {
  v1::Started message;
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
class GenerateStreamCall final
    : public QueuedStream<grpc::ServerWriteReactor<v1::GenerateStreamResponse>,
                          v1::GenerateStreamResponse>,
      public EngineCall,
      public std::enable_shared_from_this<GenerateStreamCall> {
 public:
  static constexpr int kMaxQueuedTokens = 256;

  // To be made by StartCall.
  GenerateStreamCall(const Backend& backend, grpc::CallbackServerContext* context,
                     GenerateStreamStart start);

  using QueuedStream::OnDone;

  // ResponseSink:
  void OnStarted() override;
  void OnPromptLogprobs(uint32_t first_position, std::vector<TokenLogprob> tokens) override;
  void OnDelta(TokenDelta delta) override;
  void OnFinished(CandidateFinish finish) override;
  void OnDone(absl::Status status, const Timings& timings) override;
  bool HasRoom() const override { return queue_.HasRoom(); }

  // grpc::ServerWriteReactor:
  void OnWriteDone(bool ok) override;
  void OnCancel() override { CancelRequest(); }

 private:
  void Refused(const absl::Status& status) override { Do(queue_.Close(status)); }

  v1::Finished ToFinished(const CandidateFinish& finish);
  void PushFinished(v1::Finished finished);
  // Sends what has gathered for a candidate.
  void Flush(uint32_t candidate);

  const GenerateStreamStart start_;

  // Touched by the engine's thread alone.
  std::vector<v1::Delta> gathered_;      // [candidates]
  std::vector<bool> has_sent_;           // [candidates]
  bool has_finished_candidate_ = false;  // the prompt's tokens are reported with the first
};

}  // namespace peerage
