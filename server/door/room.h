#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "server/door/byte_stream.h"
#include "server/door/connection_limits.h"
#include "server/door/event_loop.h"
#include "server/door/frame_guard.h"
#include "server/door/relay.h"
#include "server/door/socket_pair.h"
#include "server/engine/clock.h"

namespace peerage {

// A loop and the connections on it.
//
// Threads: safe from many.
class Room {
 public:
  struct Parts {
    const Clock* clock = nullptr;
    FrameLimits limits;
    ConnectionLimits* shared = nullptr;
    std::function<void()> on_tick;  // on the loop's thread, about every second
  };

  // UNAVAILABLE when the system has no descriptor left for it.
  static absl::StatusOr<std::unique_ptr<Room>> Open(Parts parts);

  // Closes its connections.
  ~Room();

  EventLoop& loop() { return *loop_; }

  // A connection of this peer begins. The functions are called on the loop's thread, the second one
  // once.
  void Add(std::unique_ptr<ByteStream> client, SocketPair pair, std::string peer,
           std::function<void(Refusal)> on_refusal, std::function<void()> on_end);

 private:
  Room(Parts parts, std::unique_ptr<EventLoop> loop);
  void Tick();
  // That connection, if it is still there.
  void MakeRoom(const std::string& name);

  const Parts parts_;
  std::unique_ptr<EventLoop> loop_;
  // Of the loop's thread.
  absl::flat_hash_map<std::string, std::unique_ptr<Relay>> relays_;
  const std::function<void()> tick_callback_;
  Event tick_;
};

}  // namespace peerage
