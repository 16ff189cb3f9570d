#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/token_bucket.h"
#include "server/door/connection_limits.h"
#include "server/door/frame_limits.h"
#include "server/door/frame_reader.h"
#include "server/door/listening_time.h"
#include "server/door/open_streams.h"
#include "server/door/refusal.h"

namespace peerage {

// Judges what one connection's client sends, by its frames. It sees what both sides send, decodes
// nothing of it, and asks no clock.
//
// Threads: one.
class FrameGuard {
 public:
  // `shared` counts the calls of this connection, which is the peer's, and outlives the guard.
  FrameGuard(const FrameLimits& limits, ConnectionLimits* shared, std::string peer, absl::Time now);
  ~FrameGuard();

  FrameGuard(const FrameGuard&) = delete;
  FrameGuard& operator=(const FrameGuard&) = delete;

  // What each side has sent. A refusal: the connection is to be ended, and of these bytes the
  // server is to get none.
  std::optional<Refusal> FromClient(absl::string_view bytes, absl::Time now);
  void FromServer(absl::string_view bytes, absl::Time now);
  // Whether time is up for something. To be asked now and then.
  std::optional<Refusal> AtTime(absl::Time now) const;
  // See ListeningTime, by which the client's times are measured.
  void Excuse(absl::Duration most, absl::Time now) { listening_.Excuse(most, now); }

  // Calls in flight.
  size_t calls() const { return streams_.size(); }
  // The newest stream whose headers are all there, of what has not been refused.
  uint32_t newest_stream() const { return newest_whole_; }
  // The streams that were opened while too many calls ran, since this was last asked, and whose
  // headers are all there: to be reset at both ends, at the server's behind those headers.
  std::vector<uint32_t> TakeTurnedAway();

  // How many calls the client has cancelled in haste (FrameLimits) since this was last asked.
  int TakeResets() { return std::exchange(new_resets_, 0); }

  // Whether a frame may be added now to what the client is sent.
  bool MayAddToClient() const;
  // Where in what the client sent last a frame may be added to it: behind the last frame that ends
  // no header block's middle. Nothing when there is no such place.
  std::optional<size_t> PlaceForFrame() const { return place_for_frame_; }

 private:
  std::optional<Refusal> Judge(const FrameHead& head, absl::Time now);
  std::optional<Refusal> JudgeHeaders(const FrameHead& head, absl::Time now);
  std::optional<Refusal> JudgeReset(const FrameHead& head, absl::Time now);
  std::optional<Refusal> JudgeSettings(const FrameHead& head, absl::Time now);
  std::optional<Refusal> JudgePing(const FrameHead& head, absl::Time now);
  std::optional<Refusal> AddToBlock(const FrameHead& head);
  void OnClientFrameEnd(size_t place, absl::Time heard);
  bool ClientIsBetweenFrames() const;
  void Hear(const FrameHead& head, absl::Time now);
  void CountCalls(size_t before, absl::Time now);

  const FrameLimits limits_;
  ConnectionLimits* const shared_;
  const std::string peer_;
  ListeningTime listening_;
  const absl::Time start_;  // as all times below, of listening
  FrameReader client_{FrameReader::Begin::kWithPreface};
  FrameReader server_{FrameReader::Begin::kWithFrame};
  OpenStreams streams_;
  std::optional<uint32_t> being_turned_away_;  // its headers are still coming
  std::vector<uint32_t> turned_away_;
  std::optional<size_t> place_for_frame_;
  uint32_t newest_whole_ = 0;

  int new_resets_ = 0;
  size_t block_bytes_ = 0;          // of the client's last header block
  bool client_block_open_ = false;  // CONTINUATION is to follow
  bool server_block_open_ = false;
  absl::Time unfinished_since_;  // what is begun of the client's frames and header blocks
  bool client_settings_seen_ = false;
  bool server_settings_seen_ = false;
  int unacked_settings_ = 0;  // of the server
  absl::Time unacked_since_;
  int unacked_pings_ = 0;  // of the server
  absl::Time idle_since_;

  TokenBucket resets_;
  TokenBucket settings_;
  TokenBucket pings_;
  TokenBucket window_updates_;
  TokenBucket priorities_;
  TokenBucket empty_data_;
  TokenBucket stray_frames_;
  TokenBucket calls_turned_away_;
};

}  // namespace peerage
