#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <memory>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "peerage/v1/inference.pb.h"
#include "server/engine/response_sink.h"
#include "server/rpc/engine_call.h"
#include "server/rpc/message_bytes.h"
#include "server/rpc/reactors.h"

namespace peerage {

// One GenerateStream call: started, deltas, one finished for each candidate. A delta waits for
// `tokens_per_message` tokens of its candidate, the first of each is sent at once.
//
// At most kMaxQueuedTokens tokens wait for a slow reader; then the engine leaves the request alone
// until there is room.
//
// Threads: the engine delivers from its worker's thread, gRPC reacts on its own. The object lives
// until both have let go of it.
class GenerateStreamCall final
    : public QueuedStream<grpc::ServerWriteReactor<grpc::ByteBuffer>, grpc::ByteBuffer>,
      public EngineCall,
      public std::enable_shared_from_this<GenerateStreamCall> {
 public:
  static constexpr int kMaxQueuedTokens = 256;

  // To be made by StartCall. `in` is gRPC's and lives as long as the call.
  GenerateStreamCall(const Backend& backend, Call call, grpc::CallbackServerContext* context,
                     const grpc::ByteBuffer* in)
      : QueuedStream(context, kMaxQueuedTokens), EngineCall(backend, std::move(call)), in_(in) {}

  using QueuedStream::OnDone;

  absl::StatusOr<GenerateRequest> Read();

  // ResponseSink:
  void OnStarted(uint32_t cached_tokens) override;
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

  void Push(const v1::GenerateStreamResponse& message, int tokens) {
    Do(queue_.Push(SerializeMessage(message, backend().readers->unsent()), tokens));
  }
  v1::Finished ToFinished(const CandidateFinish& finish);
  void PushFinished(v1::Finished finished);
  // Sends what has gathered for a candidate.
  void Flush(uint32_t candidate);

  const grpc::ByteBuffer* const in_;

  // Of the request once it is read, then the engine's thread's alone.
  v1::Started started_;
  int tokens_per_message_ = 1;
  std::vector<v1::Delta> gathered_;      // [candidates]
  std::vector<bool> has_sent_;           // [candidates]
  bool has_finished_candidate_ = false;  // the prompt's tokens are reported with the first
};

}  // namespace peerage
