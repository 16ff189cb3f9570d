#pragma once

#include <grpcpp/support/server_interceptor.h>

#include <memory>
#include <string>
#include <vector>

#include "server/engine/clock.h"
#include "server/engine/observer.h"
#include "server/rpc/calls_in_flight.h"
#include "server/rpc/gate.h"

namespace peerage {

// Every method that a server answers, as CallEvent::origin names it: those of the contract, and of
// gRPC's own services.
std::vector<std::string> ServedMethods();

// Has every call pass the gate, counts calls, and tells the observer of each when its status is
// sent: of those that a service answers, and of those that gRPC refuses itself because it cannot
// read the message or knows no such method. Calls that HTTP/2 ends before they have a method are
// nobody's. All must outlive the server.
//
// A served method's call whose message gRPC cannot read ends with INVALID_ARGUMENT.
std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> InterceptCalls(
    const Gate* gate, EngineObserver* observer, const Clock* clock, CallsInFlight* calls);

}  // namespace peerage
