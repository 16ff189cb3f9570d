#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/token_bucket.h"
#include "server/door/byte_stream.h"
#include "server/door/connection_limits.h"
#include "server/door/event_loop.h"
#include "server/door/frame_guard.h"
#include "server/door/idle_connections.h"
#include "server/door/one_way.h"
#include "server/door/reset_turns.h"
#include "server/engine/clock.h"

namespace peerage {

// A connection that has been let in: what the client sends goes to the server and back, until one
// of them has ended and the other has heard all of it, or the guard refuses to go on.
//
// Threads: its loop's.
class Relay {
 public:
  struct Parts {
    EventLoop* loop = nullptr;
    const Clock* clock = nullptr;
    FrameLimits limits;
    ConnectionLimits* shared = nullptr;
    std::string peer;  // as ConnectionLimits knows him
    std::unique_ptr<ByteStream> client;
    std::unique_ptr<ByteStream> server;
    // When its place is needed: called on any thread, to have MakeRoom called on the loop's.
    std::function<void()> leave = [] {};
    std::function<void(Refusal)> on_refusal;
    // Told once, when nothing is left to do. The relay is still running then: destroy it later.
    std::function<void()> on_end;
  };

  explicit Relay(Parts parts);
  ~Relay();

  // To be called about every second.
  void OnTick(absl::Time now);
  // Its place is needed (IdleConnections): it ends, unless a call has begun meanwhile.
  void MakeRoom();

 private:
  // Both: see OneWay.
  std::optional<size_t> FromClient(absl::string_view bytes);
  std::optional<size_t> FromServer(absl::string_view bytes);
  // Calls that were cancelled are passed on no faster than all connections together may.
  void HoldForResets(int resets, absl::Time now);
  void TellServerOfTurnedAway();
  void TellClientOfTurnedAway();
  void SayGoodbyeIfPossible();
  void Refuse(Refusal refusal);
  void CheckReader(absl::Time now);
  // Tells whether a call runs.
  void UpdateIdle(absl::Time now);
  // Excuses the client while it is not read for a reason that it has not made.
  void UpdateExcuse();
  void OnTurn();
  void Linger();
  void OnLingering();
  void End();

  const Parts parts_;
  FrameGuard guard_;
  IdleConnections::Member idle_;
  bool is_idle_ = true;
  OneWay up_;    // to the server
  OneWay down_;  // to the client

  absl::Duration excuse_;  // as the guard was told last
  TokenBucket resets_without_wait_;
  ResetTurns::Turn turn_ = ResetTurns::kNow;  // of what is held up
  // Calls turned away, of which each side is still to be told; the client as he takes what is for
  // him, so that it is not kept as so many answers that he does not read.
  std::vector<uint32_t> untold_server_;
  std::deque<uint32_t> untold_client_;
  std::string goodbye_;  // still to be said, between two frames

  size_t counted_waiting_ = 0;  // for all connections together
  // How much the client had taken when the time for more began to run.
  size_t taken_before_ = 0;
  absl::Time waits_since_ = absl::InfiniteFuture();

  // A socket that is closed while the client still sends resets the connection, and what was on its
  // way to the client, such as the reason, is lost. So the end waits a little for the client's.
  const std::function<void()> lingering_callback_;
  Event lingering_;
  absl::Time end_by_ = absl::InfiniteFuture();
  bool ended_ = false;
};

}  // namespace peerage
