#pragma once

#include <grpcpp/server_context.h>

#include <string>

#include "absl/strings/string_view.h"
#include "server/door/connection_info.h"

namespace peerage {

class Door;

// Whose call this is, also where he came by a door; of somebody who has left already, nothing.
// `door` may be null.
ConnectionInfo ClientOf(const grpc::ServerContextBase& context, const Door* door);

// His address alone, as gRPC writes it.
inline std::string ClientAddress(const grpc::ServerContextBase& context, const Door* door) {
  return ClientOf(context, door).address;
}

// gRPC writes the brackets of IPv6 as they are or percent-encoded, depending on its version.
std::string PlainAddress(absl::string_view peer);

// Whether such an address ("ipv4:127.0.0.1:4711", "ipv6:[::1]:4711", "unix:...") is on this machine
// by itself alone. What is not understood is not local.
bool IsLocalClient(absl::string_view address);

}  // namespace peerage
