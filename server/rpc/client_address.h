#pragma once

#include "absl/strings/string_view.h"

namespace peerage {

// Whether a gRPC peer name ("ipv4:127.0.0.1:4711", "ipv6:[::1]:4711", "unix:...") is on
// this machine by its address alone. What is not understood is not local.
bool IsLocalClient(absl::string_view peer);

}  // namespace peerage
