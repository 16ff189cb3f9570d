#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <atomic>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/status_macros.h"
#include "server/rpc/backend.h"
#include "server/rpc/grpc_status.h"
#include "server/rpc/message_bytes.h"
#include "server/rpc/reactors.h"
#include "server/rpc/request/call_metadata.h"

namespace peerage {

// A unary call of texts that the engine has no part in: `answer` makes a Response of a Message.
//
// Threads: gRPC reacts on its own, the answer is made where texts are read. The object lives until
// both have let go of it.
template <typename Message, typename Response>
class TextCall final : public SharedReactor<grpc::ServerUnaryReactor> {
 public:
  using Answer = absl::StatusOr<Response> (*)(const Message& message, const ServedModel& model);

  // `in` and `out` are gRPC's and live as long as the call.
  static TextCall* Start(Answer answer, const Backend& backend, Call call,
                         grpc::CallbackServerContext* context, const grpc::ByteBuffer* in,
                         grpc::ByteBuffer* out) {
    const auto reactor = Held(new TextCall(backend, std::move(call), context));
    // Of a refused one nothing is read: it takes nobody's turn.
    const size_t bytes = reactor->call_.status.ok() ? in->Length() : 0;
    const std::string caller = CallerOf(reactor->call_);
    backend.texts->Run(caller, bytes, [reactor, answer, in, out](absl::Status turn) {
      turn.Update(reactor->CheckWanted());
      if (turn.ok()) turn = reactor->Make(answer, *in, *out);
      reactor->Finish(ToGrpcStatus(turn, *reactor->context_));
    });
    return reactor.get();
  }

  void OnCancel() override { cancelled_ = true; }

 private:
  TextCall(const Backend& backend, Call call, grpc::CallbackServerContext* context)
      : backend_(backend), call_(std::move(call)), context_(context) {}

  absl::Status CheckWanted() const {
    RETURN_IF_ERROR(backend_.readers->CheckRoom());
    return peerage::CheckWanted(call_, cancelled_, backend_.clock->Now());
  }

  absl::Status Make(Answer answer, const grpc::ByteBuffer& in, grpc::ByteBuffer& out) const {
    ASSIGN_OR_RETURN(const Message message, ParseMessage<Message>(in, "the request"));
    ASSIGN_OR_RETURN(const Response response, answer(message, *backend_.model));
    out = SerializeMessage(response, backend_.readers->unsent());
    return absl::OkStatus();
  }

  const Backend backend_;
  const Call call_;
  grpc::CallbackServerContext* const context_;
  std::atomic<bool> cancelled_ = false;
};

}  // namespace peerage
