#pragma once

namespace peerage {

// From here on nobody connects to this TCP port of this process any more. Whoever listens there
// finds his socket shut down; connections go on. gRPC itself can stop to listen only by ending its
// calls as well.
void StopListening(int port);

}  // namespace peerage
