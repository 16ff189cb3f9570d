#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "server/rpc/grpc_status.h"
#include "server/rpc/write_queue.h"

namespace peerage {

// How the objects of calls live and end. Reactor is gRPC's class of the call.

// Finishes a call of any kind without doing anything for it. Deletes itself.
template <typename Reactor>
class RefusedCall final : public Reactor {
 public:
  RefusedCall(const absl::Status& status, grpc::CallbackServerContext& context) {
    this->Finish(ToGrpcStatus(status, context));
  }
  void OnDone() override { delete this; }

 private:
  ~RefusedCall() override = default;
};

template <typename Reactor>
Reactor* Refuse(const absl::Status& status, grpc::CallbackServerContext* context) {
  return new RefusedCall<Reactor>(status, *context);
}

// Finishes a unary call that was answered, or not, while gRPC waited.
inline grpc::ServerUnaryReactor* FinishUnary(const absl::Status& status,
                                             grpc::CallbackServerContext* context) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpcStatus(status, *context));
  return reactor;
}

// A call's object that others share with gRPC, such as the engine that answers it: it lives until
// gRPC is done and they have let go of it.
template <typename Reactor>
class SharedReactor : public Reactor {
 public:
  // From here until OnDone gRPC holds the object, too. To be called before the call can end.
  void HoldUntilDone(std::shared_ptr<SharedReactor> self) { self_ = std::move(self); }

  void OnDone() final { const std::shared_ptr<SharedReactor> last_hold = std::move(self_); }

 private:
  std::shared_ptr<SharedReactor> self_;
};

// A new call's object, which gRPC holds from here on.
template <typename Call>
std::shared_ptr<Call> Held(Call* call) {
  std::shared_ptr<Call> held(call);
  held->HoldUntilDone(held);
  return held;
}

// A streaming call whose answers leave through a queue. Reactor writes Message.
template <typename Reactor, typename Message>
class QueuedStream : public SharedReactor<Reactor> {
 protected:
  using Queue = WriteQueue<Message>;

  QueuedStream(grpc::CallbackServerContext* context, int capacity)
      : queue_(capacity), context_(context) {}

  // What the queue asks for.
  void Do(typename Queue::Action action) {
    switch (action) {
      case Queue::Action::kNothing:
        break;
      case Queue::Action::kWrite:
        this->StartWrite(&queue_.current(), Options());
        break;
      case Queue::Action::kFinish:
        this->Finish(ToGrpcStatus(queue_.status(), *context_));
        break;
    }
  }

  Queue queue_;

 private:
  // gRPC sends every message at once, with a system call of its own, unless it is told that another
  // one comes. It goes on to that one without waiting for the peer.
  grpc::WriteOptions Options() const {
    grpc::WriteOptions options;
    if (queue_.more_waits()) options.set_buffer_hint();
    return options;
  }

  grpc::CallbackServerContext* const context_;
};

}  // namespace peerage
