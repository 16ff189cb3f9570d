#include "server/door/frame_guard.h"

#include <utility>

namespace peerage {
namespace {

using Side = OpenStreams::Side;

std::optional<Refusal> Spend(TokenBucket& allowance, absl::Time now, Refusal refusal) {
  if (allowance.Take(now)) return std::nullopt;
  return refusal;
}

}  // namespace

FrameGuard::FrameGuard(const FrameLimits& limits, ConnectionLimits* shared, std::string peer,
                       absl::Time now)
    : limits_(limits),
      shared_(shared),
      peer_(std::move(peer)),
      listening_(now),
      start_(now),
      unfinished_since_(now),
      unacked_since_(now),
      idle_since_(now),
      resets_(limits.resets, now),
      settings_(limits.settings, now),
      pings_(limits.pings, now),
      window_updates_(limits.window_updates, now),
      priorities_(limits.priorities, now),
      empty_data_(limits.empty_data, now),
      stray_frames_(limits.stray_frames, now),
      calls_turned_away_(limits.calls_turned_away, now) {}

FrameGuard::~FrameGuard() { shared_->EndCalls(peer_, streams_.size()); }

std::optional<Refusal> FrameGuard::FromClient(absl::string_view bytes, absl::Time now) {
  std::optional<Refusal> refusal;
  const absl::Time heard = listening_.At(now);
  const uint32_t newest_before = newest_whole_;
  if (ClientIsBetweenFrames()) unfinished_since_ = heard;
  place_for_frame_ = ClientIsBetweenFrames() ? std::optional<size_t>(0) : std::nullopt;
  const auto on_frame = [&](const FrameHead& head) {
    const size_t before = streams_.size();
    refusal = Judge(head, now);
    CountCalls(before, now);
    return !refusal.has_value();
  };
  const bool read = client_.Read(bytes, on_frame,
                                 [this, heard](size_t place) { OnClientFrameEnd(place, heard); });
  if (!read && !refusal.has_value()) refusal = Refusal::kNotHttp2;
  if (refusal.has_value()) newest_whole_ = newest_before;
  return refusal;
}

void FrameGuard::FromServer(absl::string_view bytes, absl::Time now) {
  const auto on_frame = [&](const FrameHead& head) {
    const size_t before = streams_.size();
    Hear(head, now);
    CountCalls(before, now);
    return true;
  };
  server_.Read(bytes, on_frame, [](size_t) {});
}

void FrameGuard::OnClientFrameEnd(size_t place, absl::Time heard) {
  if (client_block_open_) return;
  unfinished_since_ = heard;
  place_for_frame_ = place;
  newest_whole_ = streams_.newest();
  if (!being_turned_away_.has_value()) return;
  turned_away_.push_back(*being_turned_away_);
  being_turned_away_.reset();
}

std::optional<Refusal> FrameGuard::AtTime(absl::Time now) const {
  const absl::Time heard = listening_.At(now);
  if (!client_settings_seen_) {
    if (heard - start_ > limits_.handshake) return Refusal::kHandshake;
    return std::nullopt;
  }
  if (unacked_settings_ > 0 && heard - unacked_since_ > limits_.acknowledgement) {
    return Refusal::kUnacked;
  }
  if (!ClientIsBetweenFrames() && heard - unfinished_since_ > limits_.frame) {
    return Refusal::kHalfFrame;
  }
  if (streams_.newest() == 0 && heard - start_ > limits_.first_call) return Refusal::kFirstCall;
  if (streams_.size() == 0 && heard - idle_since_ > limits_.idle) return Refusal::kIdle;
  return std::nullopt;
}

std::vector<uint32_t> FrameGuard::TakeTurnedAway() { return std::exchange(turned_away_, {}); }

bool FrameGuard::MayAddToClient() const {
  return server_settings_seen_ && server_.between_frames() && !server_block_open_;
}

bool FrameGuard::ClientIsBetweenFrames() const {
  return client_.between_frames() && !client_block_open_;
}

std::optional<Refusal> FrameGuard::Judge(const FrameHead& head, absl::Time now) {
  switch (head.type) {
    case FrameType::kData:
      if (head.has(FrameHead::kEndStream)) {
        streams_.End(head.stream, Side::kClient);
      } else if (head.length == 0) {
        return Spend(empty_data_, now, Refusal::kEmptyData);
      }
      return std::nullopt;
    case FrameType::kHeaders:
      return JudgeHeaders(head, now);
    case FrameType::kContinuation:
      return AddToBlock(head);
    case FrameType::kReset:
      return JudgeReset(head, now);
    case FrameType::kSettings:
      return JudgeSettings(head, now);
    case FrameType::kPing:
      return JudgePing(head, now);
    case FrameType::kPriority:
      return Spend(priorities_, now, Refusal::kPriorities);
    case FrameType::kWindowUpdate:
      return Spend(window_updates_, now, Refusal::kWindowUpdates);
    case FrameType::kGoAway:
      break;
  }
  return Spend(stray_frames_, now, Refusal::kStrayFrames);
}

std::optional<Refusal> FrameGuard::JudgeHeaders(const FrameHead& head, absl::Time now) {
  block_bytes_ = 0;
  if (const auto refusal = AddToBlock(head)) return refusal;
  if (!streams_.MayOpen(head.stream)) {
    if (head.has(FrameHead::kEndStream)) streams_.End(head.stream, Side::kClient);
    return Spend(stray_frames_, now, Refusal::kStrayFrames);
  }
  if (streams_.size() >= limits_.streams) return Refusal::kStreams;
  if (shared_->BeginCall(peer_)) {
    streams_.Open(head.stream, now);
    if (head.has(FrameHead::kEndStream)) streams_.End(head.stream, Side::kClient);
    return std::nullopt;
  }
  streams_.Skip(head.stream);
  being_turned_away_ = head.stream;
  return Spend(calls_turned_away_, now, Refusal::kCalls);
}

std::optional<Refusal> FrameGuard::JudgeReset(const FrameHead& head, absl::Time now) {
  const std::optional<OpenStreams::Stream> call = streams_.Reset(head.stream);
  if (call.has_value() && (call->answered || now - call->begin >= limits_.haste)) {
    return std::nullopt;
  }
  ++new_resets_;
  return Spend(resets_, now, Refusal::kResets);
}

std::optional<Refusal> FrameGuard::JudgeSettings(const FrameHead& head, absl::Time now) {
  if (!head.has(FrameHead::kAck)) {
    client_settings_seen_ = true;
    return Spend(settings_, now, Refusal::kSettings);
  }
  if (unacked_settings_ == 0) return Spend(settings_, now, Refusal::kSettings);
  --unacked_settings_;
  unacked_since_ = listening_.At(now);
  return std::nullopt;
}

std::optional<Refusal> FrameGuard::JudgePing(const FrameHead& head, absl::Time now) {
  if (head.has(FrameHead::kAck) && unacked_pings_ > 0) {
    --unacked_pings_;
    return std::nullopt;
  }
  return Spend(pings_, now, Refusal::kPings);
}

std::optional<Refusal> FrameGuard::AddToBlock(const FrameHead& head) {
  block_bytes_ += FrameHead::kBytes + head.length;
  client_block_open_ = !head.has(FrameHead::kEndHeaders);
  if (block_bytes_ > limits_.header_block_bytes) return Refusal::kHeaderBlock;
  return std::nullopt;
}

// The server is trusted: what it sends tells what the client has to answer, and what has ended.
void FrameGuard::Hear(const FrameHead& head, absl::Time now) {
  switch (head.type) {
    case FrameType::kHeaders:
    case FrameType::kData:
      pings_.Give(limits_.pings_per_frame);
      window_updates_.Give(limits_.window_updates_per_frame);
      if (head.type == FrameType::kData) streams_.Answer(head.stream);
      if (head.has(FrameHead::kEndStream)) streams_.End(head.stream, Side::kServer);
      if (head.type == FrameType::kData) return;
      [[fallthrough]];
    case FrameType::kContinuation:
      server_block_open_ = !head.has(FrameHead::kEndHeaders);
      return;
    case FrameType::kReset:
      streams_.Reset(head.stream);
      return;
    case FrameType::kSettings:
      server_settings_seen_ = true;
      if (!head.has(FrameHead::kAck) && unacked_settings_++ == 0) {
        unacked_since_ = listening_.At(now);
      }
      return;
    case FrameType::kPing:
      if (!head.has(FrameHead::kAck)) ++unacked_pings_;
      return;
    default:
      return;
  }
}

void FrameGuard::CountCalls(size_t before, absl::Time now) {
  if (streams_.size() >= before) return;
  shared_->EndCalls(peer_, before - streams_.size());
  if (streams_.size() == 0) idle_since_ = listening_.At(now);
}

}  // namespace peerage
