#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/engine/response_sink.h"

namespace peerage {

// What tokens picked, kept beyond their step.
struct KeptPicks {
  struct Layer {
    std::vector<uint32_t> ids;   // [tokens, heads, top_k]
    std::vector<float> weights;  // [tokens, heads, top_k]
  };
  uint32_t first_position = 0;
  uint32_t tokens = 0;
  std::vector<Layer> layers;
};

// A status is the last event, OK or not.
using PlaygroundEvent = std::variant<KeptPicks, TokenDelta, CandidateFinish, absl::Status>;

// As a line of JSON, line break included; see playground.h. Empty for an OK status.
std::string ToLine(const PlaygroundEvent& event);

// What the engine tells of a request, until somebody reads it. At most kMaxEvents wait for a slow
// reader; then the engine leaves the request alone until there is room.
//
// Threads: the engine's worker tells, another one takes.
class PlaygroundEvents final : public ResponseSink {
 public:
  static constexpr size_t kMaxEvents = 512;

  // ResponseSink:
  void OnStarted(uint32_t cached_tokens) override {}
  void OnPicks(const TokenPicks& picks) override;
  void OnDelta(TokenDelta delta) override;
  void OnFinished(CandidateFinish finish) override;
  void OnDone(absl::Status status, const Timings& timings) override;
  bool HasRoom() const override;

  struct Taken {
    std::vector<PlaygroundEvent> events;  // in order; none when none has come
    bool has_room_again = false;          // time for Engine::Wake
  };
  // Waits for events, at most so long.
  Taken Take(absl::Duration patience);

 private:
  void Add(PlaygroundEvent event);

  mutable absl::Mutex mu_;
  std::vector<PlaygroundEvent> events_ ABSL_GUARDED_BY(mu_);
  mutable bool was_full_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace peerage
