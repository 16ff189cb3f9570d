#include "server/door/room.h"

#include <utility>

#include "base/status_macros.h"
#include "server/door/byte_stream.h"

namespace peerage {
namespace {

constexpr absl::Duration kTick = absl::Seconds(1);

}  // namespace

absl::StatusOr<std::unique_ptr<Room>> Room::Open(Parts parts) {
  ASSIGN_OR_RETURN(std::unique_ptr<EventLoop> loop, EventLoop::Start());
  return std::unique_ptr<Room>(new Room(std::move(parts), std::move(loop)));
}

Room::Room(Parts parts, std::unique_ptr<EventLoop> loop)
    : parts_(std::move(parts)), loop_(std::move(loop)), tick_callback_([this] { Tick(); }) {
  loop_->Post([this] { tick_ = loop_->Every(kTick, &tick_callback_); });
}

Room::~Room() {
  loop_->Run([this] {
    tick_.reset();
    relays_.clear();
  });
  loop_.reset();
}

void Room::Add(std::unique_ptr<ByteStream> client, SocketPair pair, std::string peer,
               std::function<void(Refusal)> on_refusal, std::function<void()> on_end) {
  // Functions are copied, streams and descriptors are not.
  auto ends = std::make_shared<std::pair<std::unique_ptr<ByteStream>, Descriptor>>(
      std::move(client), std::move(pair.ours));
  const auto end = [this, name = pair.name, on_end = std::move(on_end)] {
    loop_->Post([this, name, on_end] {
      relays_.erase(name);
      on_end();
    });
  };
  loop_->Post([this, ends, name = pair.name, peer = std::move(peer),
               on_refusal = std::move(on_refusal), end] {
    relays_[name] = std::make_unique<Relay>(
        Relay::Parts{.loop = loop_.get(),
                     .clock = parts_.clock,
                     .limits = parts_.limits,
                     .shared = parts_.shared,
                     .peer = peer,
                     .client = std::move(ends->first),
                     .server = std::make_unique<PlainStream>(std::move(ends->second)),
                     .leave = [this, name] { loop_->Post([this, name] { MakeRoom(name); }); },
                     .on_refusal = on_refusal,
                     .on_end = end});
  });
}

void Room::MakeRoom(const std::string& name) {
  const auto found = relays_.find(name);
  if (found != relays_.end()) found->second->MakeRoom();
}

void Room::Tick() {
  const absl::Time now = parts_.clock->Now();
  for (const auto& [name, relay] : relays_) relay->OnTick(now);
  if (parts_.on_tick != nullptr) parts_.on_tick();
}

}  // namespace peerage
