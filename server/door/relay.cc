#include "server/door/relay.h"

#include <array>
#include <string>
#include <utility>

#include "server/door/own_frames.h"

namespace peerage {
namespace {

constexpr absl::Duration kLinger = absl::Seconds(2);

// Who takes less than this of what waits for him, beyond what the system holds, does not read: the
// slowest modem was faster. While much waits in all, it has to be taken sooner.
constexpr absl::Duration kTakeInterval = absl::Seconds(20);
constexpr absl::Duration kTakeIntervalInACrowd = absl::Seconds(2);
constexpr size_t kLeastTaken = 16 << 10;

}  // namespace

Relay::Relay(Parts parts)
    : parts_(std::move(parts)),
      guard_(parts_.limits, parts_.shared, parts_.peer, parts_.clock->Now()),
      idle_(&parts_.shared->idle(), parts_.clock->Now(), parts_.leave),
      up_({.loop = parts_.loop,
           .from = parts_.client.get(),
           .to = parts_.server.get(),
           .judge = [this](absl::string_view bytes) { return FromClient(bytes); },
           .insert = [this] { TellServerOfTurnedAway(); },
           .on_turn = [this] { OnTurn(); }}),
      down_({.loop = parts_.loop,
             .from = parts_.server.get(),
             .to = parts_.client.get(),
             .judge = [this](absl::string_view bytes) { return FromServer(bytes); },
             .insert =
                 [this] {
                   TellClientOfTurnedAway();
                   SayGoodbyeIfPossible();
                 },
             .gathers = true,
             .on_turn = [this] { OnTurn(); }}),
      resets_without_wait_(parts_.limits.resets_without_wait, parts_.clock->Now()),
      lingering_callback_([this] { OnLingering(); }) {}

Relay::~Relay() {
  parts_.shared->reset_turns().GiveUp(turn_);
  parts_.shared->CountWaiting(counted_waiting_, 0);
}

void Relay::OnTick(absl::Time now) {
  if (now >= end_by_) return End();
  if (end_by_ != absl::InfiniteFuture()) return;
  up_.EndIfSourceHungUp();
  if (turn_ != ResetTurns::kNow && parts_.shared->reset_turns().HasCome(turn_, now)) {
    turn_ = ResetTurns::kNow;
    up_.GoOn();
    UpdateExcuse();
  }
  if (const auto refusal = up_.held() ? std::nullopt : guard_.AtTime(now)) {
    Refuse(*refusal);
  } else {
    CheckReader(now);
  }
  OnTurn();
}

// It waits for nobody to take the reason.
void Relay::MakeRoom() {
  const bool ends = ended_ || end_by_ != absl::InfiniteFuture();
  if (ends) return;
  if (guard_.calls() > 0) return parts_.shared->Stay();
  Refuse(Refusal::kMadeRoom);
  End();
}

void Relay::UpdateIdle(absl::Time now) {
  const bool was_idle = std::exchange(is_idle_, guard_.calls() == 0);
  if (was_idle != is_idle_) idle_.SetIdle(is_idle_, now);
}

std::optional<size_t> Relay::FromClient(absl::string_view bytes) {
  const absl::Time now = parts_.clock->Now();
  if (const auto refusal = guard_.FromClient(bytes, now)) {
    Refuse(*refusal);
    return std::nullopt;
  }
  UpdateIdle(now);
  const std::vector<uint32_t> turned_away = guard_.TakeTurnedAway();
  for (const uint32_t stream : turned_away) {
    parts_.on_refusal(Refusal::kCalls);
    untold_server_.push_back(stream);
    untold_client_.push_back(stream);
  }
  // The server gets these with a reset, too.
  HoldForResets(guard_.TakeResets() + static_cast<int>(turned_away.size()), now);
  TellClientOfTurnedAway();
  return guard_.PlaceForFrame();
}

std::optional<size_t> Relay::FromServer(absl::string_view bytes) {
  const absl::Time now = parts_.clock->Now();
  guard_.FromServer(bytes, now);
  UpdateIdle(now);
  if (!guard_.MayAddToClient()) return std::nullopt;
  return bytes.size();
}

void Relay::HoldForResets(int resets, absl::Time now) {
  const int many = resets - resets_without_wait_.TakeUpTo(resets, now);
  if (many == 0) return;
  turn_ = parts_.shared->reset_turns().Take(parts_.peer, many, now);
  if (turn_ != ResetTurns::kNow) up_.Hold();
}

void Relay::TellServerOfTurnedAway() {
  for (const uint32_t stream : std::exchange(untold_server_, {})) up_.Insert(ResetFrame(stream));
}

void Relay::TellClientOfTurnedAway() {
  if (!guard_.MayAddToClient()) return;
  while (!untold_client_.empty() && down_.waiting_bytes() == 0) {
    down_.Insert(TurnedAwayAnswer(untold_client_.front()));
    untold_client_.pop_front();
  }
}

// gRPC hears that the client is gone, and ends his calls.
void Relay::Refuse(Refusal refusal) {
  parts_.on_refusal(refusal);
  end_by_ = parts_.clock->Now() + kLinger;
  goodbye_ = GoAwayFrame(guard_.newest_stream(), refusal);
  SayGoodbyeIfPossible();
  up_.Close("");
}

void Relay::SayGoodbyeIfPossible() {
  if (goodbye_.empty() || !guard_.MayAddToClient()) return;
  down_.Close(std::exchange(goodbye_, ""));
}

void Relay::CheckReader(absl::Time now) {
  const size_t waiting = down_.waiting_bytes();
  parts_.shared->CountWaiting(std::exchange(counted_waiting_, waiting), waiting);
  const bool took = down_.taken_bytes() - taken_before_ >= kLeastTaken;
  if (waiting == 0 || took || waits_since_ == absl::InfiniteFuture()) {
    taken_before_ = down_.taken_bytes();
    waits_since_ = waiting == 0 ? absl::InfiniteFuture() : now;
  }
  const bool crowded = parts_.shared->IsCrowded();
  if (now - waits_since_ < (crowded ? kTakeIntervalInACrowd : kTakeInterval) || ended_) return;
  Refuse(Refusal::kSlowReader);
  End();  // it would read no goodbye either
}

// While the client does not take what is for it, it may well be what keeps the server from reading.
void Relay::UpdateExcuse() {
  absl::Duration excuse;
  if (up_.held()) {
    excuse = absl::InfiniteDuration();  // its turn comes
  } else if (up_.waiting_bytes() > 0 && down_.waiting_bytes() == 0) {
    excuse = parts_.limits.excuse;
  }
  if (excuse == excuse_) return;
  excuse_ = excuse;
  guard_.Excuse(excuse, parts_.clock->Now());
}

// A server that is gone is no end: it may have left an answer.
void Relay::OnTurn() {
  if (ended_) return;
  UpdateExcuse();
  TellClientOfTurnedAway();
  if (down_.failed()) return End();
  if (!down_.ended() || lingering_ != nullptr) return;
  if (up_.source_ended()) return End();
  Linger();
}

void Relay::Linger() {
  up_.Close("");
  if (end_by_ == absl::InfiniteFuture()) end_by_ = parts_.clock->Now() + kLinger;
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
