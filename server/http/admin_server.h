#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/listen_address.h"

namespace peerage {

struct AdminRequest {
  std::string path;
  std::vector<std::pair<std::string, std::string>> parameters;  // of the query, decoded
  std::string known_tag = {};  // If-None-Match: the ETag of what the caller has
  std::string body = {};       // of a POST
};

// A body whose parts come while it is sent.
//
// Threads: one of the port's. It lets go of the stream after the end, and as soon as the reader is
// gone or has taken nothing for two seconds.
class AdminStream {
 public:
  virtual ~AdminStream() = default;

  // The next part, nothing at the end. It may wait for it, but not for long: an empty part is not
  // sent, only the reader looked after.
  virtual std::optional<std::string> Next() = 0;
};

struct AdminResponse {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
  std::shared_ptr<AdminStream> stream = nullptr;  // in place of the body
};

// Called from the port's own threads, several at a time.
using AdminRoute = std::function<AdminResponse(const AdminRequest&)>;

// The admin port: GET and POST of the paths that are handled; everything else is 404. A
// thread of its own has the connections, so that slow ones hold up nobody; there are short time
// limits, and idle connections make place for others. A few more threads make the answers.
//
// Nothing here asks for a name or a password, so that a page of somebody else, in the browser of
// one who can reach the port, must not do anything in their name: a POST is answered only when it
// comes from no browser or from this port's own pages (403), and holds JSON (415), which browsers
// send nowhere else without asking. On a loopback address it must be called by one, too: else the
// page's host could pretend to be this one.
//
// Threads: safe from many threads, Listen and the destructor from one. The destructor stops the
// port, streams included; routes are not called afterwards.
class AdminServer {
 public:
  static constexpr size_t kMaxBodyBytes = 1 << 20;  // of a POST; more is 413
  // That may be sent at the same time without keeping other answers waiting: whoever answers with
  // streams counts them.
  static constexpr int kMaxStreams = 1;

  AdminServer();
  ~AdminServer();

  // From now on GET of `path` ("/metrics") is answered by `route`; before or after Listen. What the
  // route looks at must outlive the server.
  void Handle(absl::string_view path, AdminRoute route);
  // Likewise POST.
  void HandlePost(absl::string_view path, AdminRoute route);

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
