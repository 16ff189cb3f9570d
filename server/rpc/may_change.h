#pragma once

#include <grpcpp/server_context.h>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace peerage {

class Door;

// Of a call that changes the server for all, which is for whoever runs it: the policy says who that
// is, and without one it is whoever calls from the server's machine, himself and not through a
// proxy that tells whom it calls for. Else PERMISSION_DENIED. `door` may be null, and `method` is
// what the error calls it.
absl::Status CheckMayChange(const grpc::ServerContextBase& context, const Door* door,
                            absl::string_view method);

}  // namespace peerage
