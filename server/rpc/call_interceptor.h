#pragma once

#include <grpcpp/support/server_interceptor.h>

#include <memory>
#include <string>
#include <vector>

#include "server/engine/clock.h"
#include "server/engine/observer.h"
#include "server/rpc/calls_in_flight.h"
#include "server/rpc/gate.h"
#include "server/rpc/slow_readers.h"

namespace peerage {

// Every method that a server answers, as CallEvent::origin names it: those of the contract, and of
// gRPC's own services.
std::vector<std::string> ServedMethods();

// What looks at every call. All must outlive the server.
struct CallParts {
  const Gate* gate;
  EngineObserver* observer;
  const Clock* clock;
  RunningCalls* calls;
  std::shared_ptr<SlowReaders> readers;
};

// Has every call pass the gate, counts calls, tells `readers` what is written to their clients, and
// the observer of each call when its status is sent: of those that a service answers, and of those
// that gRPC refuses itself because it cannot read the message or knows no such method. Calls that
// HTTP/2 ends before they have a method are nobody's.
//
// A served method's call whose message gRPC cannot read ends with INVALID_ARGUMENT.
std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> InterceptCalls(
    CallParts parts);

}  // namespace peerage
