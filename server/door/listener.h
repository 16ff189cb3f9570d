#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "server/door/connection_info.h"
#include "server/door/descriptor.h"
#include "server/door/event_loop.h"
#include "server/listen_address.h"

namespace peerage {

// The sockets that one address comes to (localhost may be two), and who connects to them.
//
// Threads: its loop's, but for Bind, and the destructor after StopListening or the loop's end.
class Listener {
 public:
  // A socket that does not block, and who is at its other end.
  using Accept = std::function<void(Descriptor, ConnectionInfo)>;
  // Somebody connected, and there was no descriptor left for him.
  using Refuse = std::function<void(const ConnectionInfo&)>;

  // Listens; port 0 takes a free one, and the file of a Unix socket gets this mode. UNAVAILABLE,
  // with the reason, when the address cannot be listened on.
  static absl::StatusOr<std::unique_ptr<Listener>> Bind(const ListenAddress& address,
                                                        unsigned mode = 0600);
  ~Listener();

  // Where it listens, with the port that was taken.
  const ListenAddress& address() const { return address_; }

  // Accepts from now on.
  void Start(EventLoop& loop, Accept accept, Refuse refuse);
  // To be called about every second: tries again where accepting was impossible.
  void OnTick();
  // Nobody connects any more; who waits to be accepted is refused by the system.
  void Stop();

 private:
  struct Watched {
    std::function<void()> callback;
    Event event;
  };

  static absl::StatusOr<std::unique_ptr<Listener>> BindFile(const ListenAddress& address,
                                                            unsigned mode);
  Listener(ListenAddress address, std::vector<Descriptor> sockets);
  void AcceptFrom(int socket);
  // Makes place with the reserve, to turn one away who would else wait for ever. False when even
  // that was impossible.
  bool RefuseFrom(int socket);
  void Watch(bool on);

  ListenAddress address_;
  std::vector<Descriptor> sockets_;
  Descriptor reserve_;
  Accept accept_;
  Refuse refuse_;
  bool paused_ = false;
  std::vector<std::unique_ptr<Watched>> watched_;
};

}  // namespace peerage
