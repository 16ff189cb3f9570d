#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace peerage {

// Where a server listens: a host name or address without brackets, and a port, 0 for any free one;
// or a Unix socket.
struct ListenAddress {
  std::string host;
  int port = 0;
  std::string path = {};  // of the Unix socket, in place of both

  bool is_unix() const { return !path.empty(); }
  // "HOST:PORT", IPv6 addresses in brackets; or "unix:PATH".
  std::string ToString() const;
};

// Whether one can listen there now: UNAVAILABLE, with the reason, when it is in use or the host not
// this machine's. Nobody is kept from taking it afterwards; but who configured what
// cannot work hears of it before anything long begins.
absl::Status CheckCanListen(const ListenAddress& address);

// Parses "127.0.0.1:50051", "localhost:0", "[::1]:50051" or "unix:/run/peerage/grpc.sock".
absl::StatusOr<ListenAddress> ParseListenAddress(absl::string_view text);

}  // namespace peerage
