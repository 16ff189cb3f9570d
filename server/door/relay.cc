#include "server/door/relay.h"

#include <array>
#include <utility>

namespace peerage {
namespace {

constexpr absl::Duration kLinger = absl::Seconds(2);

}  // namespace

Relay::Relay(Parts parts)
    : parts_(std::move(parts)),
      up_({.loop = parts_.loop,
           .from = parts_.client.get(),
           .to = parts_.server.get(),
           .judge = [](absl::string_view) {},
           .on_change = [this] { OnChange(); }}),
      down_({.loop = parts_.loop,
             .from = parts_.server.get(),
             .to = parts_.client.get(),
             .judge = [](absl::string_view) {},
             .on_change = [this] { OnChange(); }}),
      lingering_callback_([this] { OnLingering(); }) {}

void Relay::OnTick(absl::Time now) {
  if (lingering_ == nullptr) return;
  if (linger_until_ == absl::InfiniteFuture()) linger_until_ = now + kLinger;
  if (now >= linger_until_) End();
}

// A server that is gone is no end: it may have left an answer.
void Relay::OnChange() {
  if (down_.failed()) return End();
  if (!down_.ended() || lingering_ != nullptr) return;
  if (up_.source_ended()) return End();
  Linger();
}

void Relay::Linger() {
  up_.Close("");
  lingering_ = parts_.loop->Watch(parts_.client->fd(), EV_READ, &lingering_callback_);
  event_add(lingering_.get(), nullptr);
}

void Relay::OnLingering() {
  std::array<char, OneWay::kReadBytes> ignored;
  const Transfer::Result result = parts_.client->Read(absl::MakeSpan(ignored)).result;
  if (result == Transfer::kEnded || result == Transfer::kFailed) End();
}

void Relay::End() {
  if (ended_) return;
  ended_ = true;
  up_.Close("");
  down_.Close("");
  lingering_.reset();
  parts_.on_end();
}

}  // namespace peerage
