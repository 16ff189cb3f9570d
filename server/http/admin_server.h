#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/listen_address.h"

namespace peerage {

// What the admin port shows. Called from the port's own threads.
struct AdminSources {
  std::function<std::string()> metrics;  // text exposition, format 0.0.4
  std::function<bool()> ready;           // false while loading and while draining
};

// The admin port: GET /healthz (the process is alive), /readyz (200 when it serves, else 503) and
// /metrics; everything else is 404. Two threads of its own, and short time limits, so that idle or
// slow connections do not keep scrapes waiting for long.
//
// Threads: safe from many threads. The destructor stops the port.
class AdminServer {
 public:
  // Listens at once; port 0 takes a free one. UNAVAILABLE when the address cannot be bound, a port
  // in use included.
  static absl::StatusOr<std::unique_ptr<AdminServer>> Start(const ListenAddress& address,
                                                            AdminSources sources);
  virtual ~AdminServer() = default;

  // With the port that was bound.
  virtual ListenAddress address() const = 0;
};

}  // namespace peerage
