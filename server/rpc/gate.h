#pragma once

#include <grpcpp/server_context.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "server/engine/clock.h"
#include "server/identity/authorizer.h"
#include "server/rpc/request/call_context.h"

namespace peerage {

class Door;

// Where every call is let in or refused, whatever its kind and whoever answers it. It decides
// before the call's handler runs. Handlers of ours find that in their context (CallContext) and
// refuse with all details; those of gRPC's own services do not ask, so the gate ends their calls.
//
// Threads: safe from many.
class Gate {
 public:
  // Without an authorizer everybody may do everything. `door` is where clients come in, and may be
  // null. All must outlive the gate.
  Gate(Authorizer* authorizer, const Clock* clock, const Door* door)
      : authorizer_(authorizer), clock_(clock), door_(door) {}

  // Gives gRPC the contexts of calls.
  static std::unique_ptr<grpc::ContextAllocator> NewContexts();

  // To be told of each call once, when its metadata are there; `method` as in Authorizer::Enter.
  // The refusal is OK, or what its status is to be. The visitor is there where the call's context
  // cannot hold it (gRPC's own streams): to be kept until the call ends.
  Passage Enter(grpc::ServerContextBase& context, const std::string& method) const;

  // Of a call that comes by another way than gRPC and can show nothing.
  Passage EnterWithoutCredentials(const std::string& method) const { return Decide({}, method); }

 private:
  Passage Decide(const Credentials& credentials, const std::string& method) const;

  Authorizer* const authorizer_;
  const Clock* const clock_;
  const Door* const door_;
};

}  // namespace peerage
