#include "server/door/door.h"

#include <utility>

#include "base/status_macros.h"
#include "server/door/byte_stream.h"
#include "server/door/relay.h"
#include "server/door/socket_pair.h"

namespace peerage {
namespace {

// A loop relays more than gRPC on its threads can serve; the second is for a moment when the first
// is busy with something long, such as the signatures of many handshakes.
constexpr int kLoops = 2;
constexpr absl::Duration kTick = absl::Seconds(1);

}  // namespace

// A loop and the connections on it.
class Door::Room {
 public:
  static absl::StatusOr<std::unique_ptr<Room>> Open(const Clock* clock) {
    ASSIGN_OR_RETURN(std::unique_ptr<EventLoop> loop, EventLoop::Start());
    return std::unique_ptr<Room>(new Room(clock, std::move(loop)));
  }

  // On its own thread, as everything that it looks at.
  ~Room() {
    loop_->Run([this] {
      tick_.reset();
      relays_.clear();
    });
    loop_.reset();
  }

  EventLoop& loop() { return *loop_; }

  // From any thread. `on_end` is called on the loop's.
  void Add(Descriptor client, SocketPair pair, std::function<void()> on_end) {
    // Functions are copied, descriptors are not.
    auto ends = std::make_shared<std::pair<Descriptor, Descriptor>>(std::move(client),
                                                                    std::move(pair.ours));
    loop_->Post([this, ends, name = std::move(pair.name), on_end = std::move(on_end)] {
      relays_[name] = std::make_unique<Relay>(
          Relay::Parts{.loop = loop_.get(),
                       .client = std::make_unique<PlainStream>(std::move(ends->first)),
                       .server = std::make_unique<PlainStream>(std::move(ends->second)),
                       .on_end = [this, name, on_end] {
                         loop_->Post([this, name, on_end] {
                           relays_.erase(name);
                           on_end();
                         });
                       }});
    });
  }

 private:
  Room(const Clock* clock, std::unique_ptr<EventLoop> loop)
      : clock_(clock), loop_(std::move(loop)) {
    loop_->Post([this] { tick_ = loop_->Every(kTick, &on_tick_); });
  }

  const Clock* const clock_;
  std::unique_ptr<EventLoop> loop_;
  // Of the loop's thread.
  absl::flat_hash_map<std::string, std::unique_ptr<Relay>> relays_;
  const std::function<void()> on_tick_ = [this] {
    for (const auto& [name, relay] : relays_) relay->OnTick(clock_->Now());
  };
  Event tick_;
};

absl::StatusOr<std::unique_ptr<Door>> Door::Open(const Options& options) {
  ASSIGN_OR_RETURN(std::unique_ptr<Listener> listener, Listener::Bind(options.listen));
  std::vector<std::unique_ptr<Room>> rooms;
  for (int i = 0; i < kLoops; ++i) {
    ASSIGN_OR_RETURN(std::unique_ptr<Room> room, Room::Open(options.clock));
    rooms.push_back(std::move(room));
  }
  return std::unique_ptr<Door>(new Door(options, std::move(listener), std::move(rooms)));
}

Door::Door(const Options& options, std::unique_ptr<Listener> listener,
           std::vector<std::unique_ptr<Room>> rooms)
    : options_(options),
      address_(listener->address()),
      listener_(std::move(listener)),
      rooms_(std::move(rooms)) {}

Door::~Door() {
  StopListening();
  rooms_.clear();
}

void Door::Start(Serve serve) {
  rooms_.front()->loop().Run([this, &serve] {
    serve_ = std::move(serve);
    listener_->Start(rooms_.front()->loop(), [this](Descriptor client, ConnectionInfo info) {
      LetIn(std::move(client), std::move(info));
    });
  });
}

std::optional<ConnectionInfo> Door::Find(absl::string_view name) const {
  absl::MutexLock lock(&mu_);
  const auto found = connections_.find(name);
  if (found == connections_.end()) return std::nullopt;
  return found->second;
}

void Door::StopListening() {
  rooms_.front()->loop().Run([this] { listener_->Stop(); });
}

bool Door::AwaitEnd(absl::Time deadline) {
  absl::MutexLock lock(&mu_);
  const auto none = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return connections_.empty(); };
  return mu_.AwaitWithDeadline(absl::Condition(&none), deadline);
}

void Door::LetIn(Descriptor client, ConnectionInfo info) {
  std::optional<SocketPair> pair = MakeSocketPair();
  if (!pair.has_value()) return;
  Descriptor theirs = std::move(pair->theirs);
  const std::string name = pair->name;
  {
    absl::MutexLock lock(&mu_);
    connections_[name] = std::move(info);
  }
  Room& room = *rooms_[next_room_++ % rooms_.size()];
  room.Add(std::move(client), *std::move(pair), [this, name] { Forget(name); });
  serve_(std::move(theirs));
}

void Door::Forget(const std::string& name) {
  absl::MutexLock lock(&mu_);
  connections_.erase(name);
}

}  // namespace peerage
