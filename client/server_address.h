#pragma once

#include <string>

#include "absl/status/status.h"

namespace peerage::client {

// Whether this is where a server may listen: HOST:PORT, [IPv6]:PORT, or one of gRPC's targets that
// begin with unix:, unix-abstract:, dns:, ipv4: or ipv6:. INVALID_ARGUMENT says what is wrong.
absl::Status CheckServerAddress(const std::string& address);

// Whether what listens there runs on this machine, as far as the address tells: no proxy is asked
// for it.
bool IsOnThisMachine(const std::string& address);

}  // namespace peerage::client
