#include "server/door/door.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "server/door/handshakes.h"
#include "server/door/listener.h"
#include "server/door/room.h"
#include "server/door/socket_pair.h"
#include "server/door/tls_stream.h"

namespace peerage {
namespace {

// A loop relays more than gRPC on its threads can serve; the second is for a moment when the first
// is busy with something long.
constexpr int kRooms = 2;

}  // namespace

absl::StatusOr<std::unique_ptr<Door>> Door::Open(const Options& options) {
  ASSIGN_OR_RETURN(std::unique_ptr<Listener> listener,
                   Listener::Bind(options.listen, options.listen_mode));
  std::unique_ptr<Door> door(new Door(options, std::move(listener)));
  RETURN_IF_ERROR(door->OpenRooms());
  RETURN_IF_ERROR(door->OpenHandshakes());
  return door;
}

Door::Door(const Options& options, std::unique_ptr<Listener> listener)
    : options_(options),
      address_(listener->address()),
      listener_(std::move(listener)),
      limits_(options.limits, options.clock->Now()) {}

absl::Status Door::OpenRooms() {
  for (int i = 0; i < kRooms; ++i) {
    Room::Parts parts{.clock = options_.clock, .limits = options_.frames, .shared = &limits_};
    if (i == 0) parts.on_tick = [this] { listener_->OnTick(); };
    ASSIGN_OR_RETURN(std::unique_ptr<Room> room, Room::Open(std::move(parts)));
    rooms_.push_back(std::move(room));
  }
  return absl::OkStatus();
}

absl::Status Door::OpenHandshakes() {
  if (options_.tls == nullptr) return absl::OkStatus();
  ASSIGN_OR_RETURN(handshakes_, Handshakes::Open({.clock = options_.clock,
                                                  .limit = options_.frames.handshake,
                                                  .idle = &limits_.idle()}));
  return absl::OkStatus();
}

Door::~Door() {
  if (!rooms_.empty()) StopListening();
  handshakes_.reset();
  rooms_.clear();
}

std::optional<ConnectionInfo> Door::Find(absl::string_view name) const {
  absl::MutexLock lock(&mu_);
  const auto found = connections_.find(name);
  if (found == connections_.end()) return std::nullopt;
  return found->second;
}

void Door::Start(Serve serve) {
  EventLoop& loop = rooms_.front()->loop();
  loop.Run([this, &serve, &loop] {
    serve_ = std::move(serve);
    listener_->Start(
        loop,
        [this](Descriptor client, ConnectionInfo info) {
          OnClient(std::move(client), std::move(info));
        },
        [this](const ConnectionInfo& info) { OnRefusal(Refusal::kDescriptors, info.address); });
  });
}

void Door::StopListening() {
  rooms_.front()->loop().Run([this] { listener_->Stop(); });
  if (handshakes_ != nullptr) handshakes_->EndAll();
}

bool Door::AwaitEnd(absl::Time deadline) {
  absl::MutexLock lock(&mu_);
  const auto none = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return connections_.empty(); };
  return mu_.AwaitWithDeadline(absl::Condition(&none), deadline);
}

std::string Door::PeerAt(const std::string& address) {
  if (!options_.proxies.Contain(address)) return PeerOf(address);
  return absl::StrCat("proxy ", ++last_of_proxies_);
}

void Door::OnClient(Descriptor client, ConnectionInfo info) {
  const std::string peer = PeerAt(info.address);
  if (const auto refusal = limits_.Begin(peer, options_.clock->Now())) {
    return OnRefusal(*refusal, info.address);
  }
  if (handshakes_ == nullptr) {
    return LetIn(std::make_unique<PlainStream>(std::move(client)), info, peer);
  }
  handshakes_->Add(std::make_unique<TlsStream>(std::move(client), *options_.tls->Get()),
                   {.on_done =
                        [this, info, peer](std::unique_ptr<TlsStream> stream) {
                          const ConnectionInfo known{info.address, stream->principal()};
                          LetIn(std::move(stream), known, peer);
                        },
                    .on_late =
                        [this, info, peer] {
                          limits_.End(peer);
                          OnRefusal(Refusal::kHandshake, info.address);
                        },
                    .on_failed = [this, peer] { limits_.End(peer); }});
}

void Door::LetIn(std::unique_ptr<ByteStream> client, const ConnectionInfo& info,
                 const std::string& peer) {
  std::optional<SocketPair> pair = MakeSocketPair();
  if (!pair.has_value()) {
    limits_.End(peer);
    return OnRefusal(Refusal::kDescriptors, info.address);
  }
  const std::string name = pair->name;
  {
    absl::MutexLock lock(&mu_);
    connections_[name] = info;
  }
  if (options_.observer != nullptr) options_.observer->OnConnected();
  Descriptor theirs = std::move(pair->theirs);
  rooms_[next_room_++ % rooms_.size()]->Add(
      std::move(client), *std::move(pair), peer,
      [this, address = info.address](Refusal refusal) { OnRefusal(refusal, address); },
      [this, peer, name] {
        limits_.End(peer);
        OnEnd(name);
      });
  serve_(std::move(theirs));
}

void Door::OnRefusal(Refusal refusal, const std::string& address) {
  if (options_.observer != nullptr) options_.observer->OnRefusal(refusal);
  const absl::string_view reason = TextOf(refusal).label;
  options_.log->WriteLimited(absl::StrCat("door ", reason), LogLevel::kWarn, "refused at the door",
                             {{"reason", std::string(reason)}, {"peer", address}});
}

void Door::OnEnd(const std::string& name) {
  if (options_.observer != nullptr) options_.observer->OnDisconnected();
  absl::MutexLock lock(&mu_);
  connections_.erase(name);
}

}  // namespace peerage
