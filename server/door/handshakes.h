#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/door/event_loop.h"
#include "server/door/idle_connections.h"
#include "server/door/tls_stream.h"
#include "server/engine/clock.h"

namespace peerage {

// The TLS handshakes of connections that want to be let in. Their signatures take a millisecond of
// a processor each; so they have a thread of their own, behind those that relay and compute:
// however many want to come in, those who are in are served.
//
// Threads: safe from many.
class Handshakes {
 public:
  struct Parts {
    const Clock* clock = nullptr;
    absl::Duration limit;             // of each
    IdleConnections* idle = nullptr;  // in which they are; may be null
  };
  // Told once how it has ended, on the thread of the handshakes.
  struct Listener {
    std::function<void(std::unique_ptr<TlsStream>)> on_done;
    std::function<void()> on_late;    // it took too long
    std::function<void()> on_failed;  // its client has been refused, or is gone
  };

  // UNAVAILABLE when the system has no descriptor left for it.
  static absl::StatusOr<std::unique_ptr<Handshakes>> Open(const Parts& parts);

  // As after EndAll.
  ~Handshakes();

  void Add(std::unique_ptr<TlsStream> stream, Listener listener);

  // Ends those that are not done, and all that come: each has failed. When it returns, nobody is
  // told anything any more.
  void EndAll();

 private:
  class Handshake;

  Handshakes(const Parts& parts, std::unique_ptr<EventLoop> loop);
  void Tick();
  // That one, if it is still there: its place is needed.
  void Fail(uint64_t id);

  const Parts parts_;
  std::unique_ptr<EventLoop> loop_;
  // Of the loop's thread.
  bool ended_ = false;
  uint64_t last_id_ = 0;
  absl::flat_hash_map<uint64_t, std::unique_ptr<Handshake>> handshakes_;
  const std::function<void()> tick_callback_;
  Event tick_;
};

}  // namespace peerage
