#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace peerage {

// Where a port listens: a host name or address without brackets, and a port, 0 for any free one.
struct ListenAddress {
  std::string host;
  int port = 0;

  // "HOST:PORT"; IPv6 addresses in brackets.
  std::string ToString() const;
};

// Whether a port can be listened on there now: UNAVAILABLE, with the reason, when it is in use or
// the host not this machine's. Nobody is kept from taking it afterwards; but who configured what
// cannot work hears of it before anything long begins.
absl::Status CheckCanListen(const ListenAddress& address);

// Parses "127.0.0.1:50051", "localhost:0" or "[::1]:50051".
absl::StatusOr<ListenAddress> ParseListenAddress(absl::string_view text);

}  // namespace peerage
