#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "absl/strings/string_view.h"
#include "peerage/v1/inference.grpc.pb.h"
#include "server/rpc/backend.h"
#include "server/rpc/request/call_metadata.h"

namespace peerage {

// Messages are parsed by the calls (message_bytes.h), not by gRPC.
using InferenceServiceBase = v1::InferenceService::WithRawCallbackMethod_Generate<
    v1::InferenceService::WithRawCallbackMethod_GenerateStream<
        v1::InferenceService::WithRawCallbackMethod_Score<
            v1::InferenceService::WithRawCallbackMethod_ScoreStream<
                v1::InferenceService::WithRawCallbackMethod_Tokenize<
                    v1::InferenceService::WithRawCallbackMethod_Detokenize<
                        v1::InferenceService::Service>>>>>>;

// The edge of the engine: every method returns the reactor that has its message read, validated and
// converted where texts are read, then submitted, and that answers. No policy lives here.
//
// Threads: safe from many. Nothing blocks, and nothing takes long: see TextPool.
class InferenceService final : public InferenceServiceBase {
 public:
  explicit InferenceService(const Backend& backend) : backend_(backend) {}

  grpc::ServerUnaryReactor* Generate(grpc::CallbackServerContext* context,
                                     const grpc::ByteBuffer* request,
                                     grpc::ByteBuffer* response) override;
  grpc::ServerWriteReactor<grpc::ByteBuffer>* GenerateStream(
      grpc::CallbackServerContext* context, const grpc::ByteBuffer* request) override;
  grpc::ServerUnaryReactor* Score(grpc::CallbackServerContext* context,
                                  const grpc::ByteBuffer* request,
                                  grpc::ByteBuffer* response) override;
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* ScoreStream(
      grpc::CallbackServerContext* context) override;
  grpc::ServerUnaryReactor* Tokenize(grpc::CallbackServerContext* context,
                                     const grpc::ByteBuffer* request,
                                     grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* Detokenize(grpc::CallbackServerContext* context,
                                       const grpc::ByteBuffer* request,
                                       grpc::ByteBuffer* response) override;

 private:
  Call ReadCall(grpc::CallbackServerContext& context, absl::string_view method) const;

  const Backend backend_;
};

}  // namespace peerage
