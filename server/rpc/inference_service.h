#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "peerage/v1/inference.grpc.pb.h"
#include "server/rpc/backend.h"

namespace peerage {

// ScoreStream parses its messages itself (see ScoreStreamCall), gRPC those of the others.
using InferenceServiceBase = v1::InferenceService::WithCallbackMethod_Generate<
    v1::InferenceService::WithCallbackMethod_GenerateStream<
        v1::InferenceService::WithCallbackMethod_Score<
            v1::InferenceService::WithRawCallbackMethod_ScoreStream<
                v1::InferenceService::WithCallbackMethod_Tokenize<
                    v1::InferenceService::WithCallbackMethod_Detokenize<
                        v1::InferenceService::Service>>>>>>;

// The edge of the engine: every method validates, converts, submits and returns the reactor that
// answers. No policy lives here.
//
// Threads: safe from many. Nothing blocks; a method costs what tokenising its texts costs.
class InferenceService final : public InferenceServiceBase {
 public:
  explicit InferenceService(const Backend& backend) : backend_(backend) {}

  grpc::ServerUnaryReactor* Generate(grpc::CallbackServerContext* context,
                                     const v1::GenerateRequest* request,
                                     v1::GenerateResponse* response) override;
  grpc::ServerWriteReactor<v1::GenerateStreamResponse>* GenerateStream(
      grpc::CallbackServerContext* context, const v1::GenerateStreamRequest* request) override;
  grpc::ServerUnaryReactor* Score(grpc::CallbackServerContext* context,
                                  const v1::ScoreRequest* request,
                                  v1::ScoreResponse* response) override;
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* ScoreStream(
      grpc::CallbackServerContext* context) override;
  grpc::ServerUnaryReactor* Tokenize(grpc::CallbackServerContext* context,
                                     const v1::TokenizeRequest* request,
                                     v1::TokenizeResponse* response) override;
  grpc::ServerUnaryReactor* Detokenize(grpc::CallbackServerContext* context,
                                       const v1::DetokenizeRequest* request,
                                       v1::DetokenizeResponse* response) override;

 private:
  // What the engine will run, or why not; the observer is told of the latter.
  template <typename Request, typename Message>
  absl::StatusOr<Request> Read(const Message& message, absl::string_view method,
                               grpc::CallbackServerContext& context) const;

  const Backend backend_;
};

}  // namespace peerage
