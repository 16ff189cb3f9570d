#pragma once

#include "absl/status/status.h"
#include "server/config.h"

namespace peerage {

// Whether the options of TLS fit each other, and nobody is asked to send what he says in the clear
// over a network without knowing it: plaintext beyond this machine needs --insecure.
// INVALID_ARGUMENT names the option.
absl::Status CheckTransport(const ServerConfig& config);

}  // namespace peerage
