#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "server/listen_address.h"

namespace peerage {

struct AdminRequest {
  std::string path;
  std::vector<std::pair<std::string, std::string>> parameters;  // of the query, decoded
  std::string known_tag = {};  // If-None-Match: the ETag of what the caller has
};

struct AdminResponse {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
};

// Called from the port's own threads, several at a time.
using AdminRoute = std::function<AdminResponse(const AdminRequest&)>;

// The admin port: GET of the paths that are handled; everything else is 404. Two threads of its
// own, and short time limits, so that idle or slow connections do not keep scrapes waiting for
// long.
//
// Threads: safe from many threads, Listen and the destructor from one. The destructor stops the
// port; routes are not called afterwards.
class AdminServer {
 public:
  AdminServer();
  ~AdminServer();

  // From now on `path` ("/metrics") is answered by `route`; before or after Listen. What the route
  // looks at must outlive the server.
  void Handle(std::string path, AdminRoute route);

  // Listens and serves; port 0 takes a free one. UNAVAILABLE when the address cannot be bound, a
  // port in use included. Called once.
  absl::Status Listen(const ListenAddress& address);

  // Where it listens, with the port that was bound.
  const ListenAddress& address() const;

 private:
  class Port;
  const std::unique_ptr<Port> port_;
};

}  // namespace peerage
