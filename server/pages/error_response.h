#pragma once

#include "absl/status/status.h"
#include "server/http/admin_server.h"

namespace peerage {

// An error as a line of text with the status of HTTP that says the same; when to try again, where
// that is worth it.
AdminResponse ErrorResponse(const absl::Status& status);

}  // namespace peerage
