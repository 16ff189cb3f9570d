#pragma once

#include <string>

namespace peerage {

// Who is at the other end of a connection.
struct ConnectionInfo {
  // As gRPC writes it: "ipv4:127.0.0.1:4711", "ipv6:[::1]:4711" or "unix:".
  std::string address;
  // Whom a verified certificate names (tls_stream.h); empty without one.
  std::string principal = {};
};

}  // namespace peerage
