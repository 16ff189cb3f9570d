#pragma once

#include <grpcpp/server_context.h>

#include "server/rpc/grpc_status.h"
#include "server/rpc/shared_reactor.h"
#include "server/rpc/write_queue.h"

namespace peerage {

// A streaming call whose answers leave through a queue. Reactor is gRPC's class of the call, which
// writes Message.
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
        this->StartWrite(&queue_.current());
        break;
      case Queue::Action::kFinish:
        this->Finish(ToGrpcStatus(queue_.status(), *context_));
        break;
    }
  }

  Queue queue_;

 private:
  grpc::CallbackServerContext* const context_;
};

}  // namespace peerage
