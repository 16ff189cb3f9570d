#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/address_ranges.h"
#include "server/door/byte_stream.h"
#include "server/door/connection_info.h"
#include "server/door/connection_limits.h"
#include "server/door/descriptor.h"
#include "server/door/door_observer.h"
#include "server/door/frame_limits.h"
#include "server/door/tls_context.h"
#include "server/engine/clock.h"
#include "server/listen_address.h"
#include "server/log/log.h"

namespace peerage {

class Handshakes;
class Listener;
class Room;

// Where strangers come in. It listens and accepts; for each connection it makes a pair of sockets,
// gives one of them to whoever serves, and relays what is sent between the other and the client, as
// long as that is within limits (FrameLimits, ConnectionLimits). So who serves HTTP/2 meets nobody
// who was not let in, and nothing that would hurt.
//
// Threads: safe from many. It has a few of its own, which never wait.
class Door {
 public:
  struct Options {
    ListenAddress listen;
    unsigned listen_mode = 0600;  // of the file of a Unix socket
    ConnectionLimits::Limits limits;
    FrameLimits frames;
    AddressRanges proxies;  // for many: each of their connections counts as a peer
    const Clock* clock = nullptr;
    Log* log = nullptr;
    DoorObserver* observer = nullptr;  // may be null, unlike clock and log
    const CurrentTls* tls = nullptr;   // none: plaintext
  };
  // Takes the server's end of a connection, on one of the door's threads. The name of the socket at
  // its other end, in the abstract namespace of Unix sockets (unix(7)), is the connection's alone;
  // see Find.
  using Serve = std::function<void(Descriptor)>;

  // Listens; who connects waits until Start. UNAVAILABLE, with the reason, when the address cannot
  // be listened on.
  static absl::StatusOr<std::unique_ptr<Door>> Open(const Options& options);

  // Closes what is still open.
  ~Door();

  // Where it listens, with the port that was taken.
  const ListenAddress& address() const { return address_; }

  // Who is behind the abstract name ("peerage-4f..-17") of a connection that is open; nothing for
  // any other.
  std::optional<ConnectionInfo> Find(absl::string_view name) const ABSL_LOCKS_EXCLUDED(mu_);

  // Lets them in. Called at most once.
  void Start(Serve serve);
  // Nobody connects any more. Those who are connected stay.
  void StopListening();
  // Returns when all connections have ended, because their server or their client did, at the
  // latest at `deadline` (of the system's clock). Whether they have.
  bool AwaitEnd(absl::Time deadline) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  Door(const Options& options, std::unique_ptr<Listener> listener);

  absl::Status OpenRooms();
  absl::Status OpenHandshakes();
  // Whom the limits of peers mean.
  std::string PeerAt(const std::string& address);
  // Somebody knocks, and somebody comes in.
  void OnClient(Descriptor client, ConnectionInfo info);
  void LetIn(std::unique_ptr<ByteStream> client, const ConnectionInfo& info,
             const std::string& peer);
  // Tells of it.
  void OnRefusal(Refusal refusal, const std::string& address);
  void OnEnd(const std::string& name) ABSL_LOCKS_EXCLUDED(mu_);

  const Options options_;
  const ListenAddress address_;
  const std::unique_ptr<Listener> listener_;
  ConnectionLimits limits_;
  // Of the listener's thread.
  uint64_t last_of_proxies_ = 0;
  // Of the handshakes' thread, or the listener's where there are none.
  Serve serve_;
  size_t next_room_ = 0;

  mutable absl::Mutex mu_;
  absl::flat_hash_map<std::string, ConnectionInfo> connections_ ABSL_GUARDED_BY(mu_);
  std::vector<std::unique_ptr<Room>> rooms_;  // the first has the listener
  std::unique_ptr<Handshakes> handshakes_;    // with TLS
};

}  // namespace peerage
