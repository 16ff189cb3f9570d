#pragma once

namespace peerage::client {

// From now on gRPC and protobuf write nothing on standard error: what they know of a failed call is
// in its status, and `peerage` says it in one line. Call before the first connection.
void SilenceLibraries();

}  // namespace peerage::client
