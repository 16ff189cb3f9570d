#pragma once

#include <grpcpp/server_context.h>

#include <string>

#include "absl/strings/string_view.h"

namespace peerage {

class Door;

// Whose call this is, as gRPC writes addresses ("ipv4:127.0.0.1:4711"): the client's, also where he
// came by a door. "" when he has left already. `door` may be null.
std::string ClientAddress(const grpc::ServerContextBase& context, const Door* door);

// Whether such an address ("ipv4:127.0.0.1:4711", "ipv6:[::1]:4711", "unix:...") is on this machine
// by itself alone. What is not understood is not local.
bool IsLocalClient(absl::string_view address);

}  // namespace peerage
