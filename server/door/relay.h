#pragma once

#include <functional>
#include <memory>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/door/byte_stream.h"
#include "server/door/event_loop.h"
#include "server/door/one_way.h"

namespace peerage {

// A connection that has been let in: what the client sends goes to the server and back, until one
// of them has ended and the other has heard all of it.
//
// Threads: its loop's.
class Relay {
 public:
  struct Parts {
    EventLoop* loop = nullptr;
    std::unique_ptr<ByteStream> client;
    std::unique_ptr<ByteStream> server;
    // Told once, when nothing is left to do. The relay is still running then: destroy it later.
    std::function<void()> on_end;
  };

  explicit Relay(Parts parts);

  // To be called about every second.
  void OnTick(absl::Time now);

 private:
  void OnChange();
  void Linger();
  void OnLingering();
  void End();

  const Parts parts_;
  OneWay up_;    // to the server
  OneWay down_;  // to the client
  // A socket that is closed while the client still sends resets the connection, and what was on its
  // way to the client, such as the reason, is lost. So the end waits a little for the client's.
  const std::function<void()> lingering_callback_;
  Event lingering_;
  absl::Time linger_until_ = absl::InfiniteFuture();
  bool ended_ = false;
};

}  // namespace peerage
