#pragma once

#include <atomic>
#include <cstddef>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/door/refusal.h"
#include "server/door/reset_turns.h"

namespace peerage {

// Who counts as one peer: the host of an address ("ipv4:10.0.0.1:4711"), of IPv6 the network of 64
// bits that one customer gets. Everybody on a Unix socket is one.
std::string PeerOf(absl::string_view address);

// What all connections may use together.
//
// Threads: safe from many; every call is short.
class ConnectionLimits {
 public:
  struct Limits {
    int connections = 1024;
    int peer_connections = 256;
    int calls = 2048;
    int peer_calls = 1024;  // so that one that holds all it can get leaves room for others
    // That connections hold for clients who do not take them; with more, they have to be quicker.
    size_t waiting_bytes = 16 << 20;
    ResetTurns::Limits resets = {};
  };

  ConnectionLimits(const Limits& limits, absl::Time now)
      : limits_(limits), reset_turns_(limits.resets, now) {}

  // A connection begins, unless it may not: then why.
  std::optional<Refusal> Begin(const std::string& peer) ABSL_LOCKS_EXCLUDED(mu_);
  // One that has begun ends.
  void End(const std::string& peer) ABSL_LOCKS_EXCLUDED(mu_);

  // Whether one more call of this peer may run. If so, it does.
  bool BeginCall(const std::string& peer) ABSL_LOCKS_EXCLUDED(mu_);
  // So many of them have ended.
  void EndCalls(const std::string& peer, size_t calls) ABSL_LOCKS_EXCLUDED(mu_);

  // What a connection holds for its client was so many bytes, and is so many now.
  void CountWaiting(size_t before, size_t now) { waiting_bytes_ += now - before; }
  size_t waiting_bytes() const { return waiting_bytes_; }
  // Whether all of them hold more than they should.
  bool IsCrowded() const { return waiting_bytes_ > limits_.waiting_bytes; }

  // Cancelled calls that are to be passed on.
  ResetTurns& reset_turns() { return reset_turns_; }

  int connections() const ABSL_LOCKS_EXCLUDED(mu_);
  int calls() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  const Limits limits_;
  ResetTurns reset_turns_;
  std::atomic<size_t> waiting_bytes_ = 0;

  mutable absl::Mutex mu_;
  int connections_ ABSL_GUARDED_BY(mu_) = 0;
  int calls_ ABSL_GUARDED_BY(mu_) = 0;
  // Of peers that have any.
  absl::flat_hash_map<std::string, int> connections_of_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<std::string, int> calls_of_ ABSL_GUARDED_BY(mu_);
};

}  // namespace peerage
