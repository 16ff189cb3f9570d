#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/token_bucket.h"
#include "server/door/idle_connections.h"
#include "server/door/peer_buckets.h"
#include "server/door/refusal.h"
#include "server/door/reset_turns.h"

namespace peerage {

// Who counts as one peer: the host of an address ("ipv4:10.0.0.1:4711"), of IPv6 the network of 64
// bits that one customer gets. Everybody on a Unix socket is one.
std::string PeerOf(absl::string_view address);

// What all connections may use together. Of connections and of calls a peer may have as many as it
// leaves to others: so however few peers want them all, somebody else gets in. When many peers have
// all connections, one that is idle makes room for each who has few.
//
// Threads: safe from many; every call is short.
class ConnectionLimits {
 public:
  struct Limits {
    int connections = 1024;
    int peer_connections = 256;
    int calls = 2048;
    // Connections that begin. The keys of a TLS handshake take a millisecond of a processor.
    TokenBucket::Limits new_connections{.at_once = 2000, .per_second = 500};
    TokenBucket::Limits new_peer_connections{.at_once = 500, .per_second = 100};
    // That connections hold for clients who do not take them; with more, they have to be quicker.
    size_t waiting_bytes = 16 << 20;
    ResetTurns::Limits resets = {};
  };

  ConnectionLimits(const Limits& limits, absl::Time now)
      : limits_(limits),
        reset_turns_(limits.resets, now),
        new_connections_(limits.new_connections, now),
        new_connections_of_(limits.new_peer_connections) {}

  // A connection begins, unless it may not: then why.
  std::optional<Refusal> Begin(const std::string& peer, absl::Time now) ABSL_LOCKS_EXCLUDED(mu_);
  // One that has begun ends.
  void End(const std::string& peer) ABSL_LOCKS_EXCLUDED(mu_);
  // One that was to make room does not leave, for it is idle no more.
  void Stay() ABSL_LOCKS_EXCLUDED(mu_);
  // Of connections that have begun, those that can make room.
  IdleConnections& idle() { return idle_; }

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
  // Whether this is not too soon after others. Peers who come now and then always get in.
  bool MayBegin(const std::string& peer, absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // Connections of which a peer with fewer has few.
  int Few() const { return std::max(limits_.connections / 16, 2); }
  // For a moment there are so many more connections, while idle ones leave: their threads may be
  // waiting for a processor.
  int MostLeaving() const { return std::max(limits_.connections / 2, 2); }

  const Limits limits_;
  IdleConnections idle_;
  ResetTurns reset_turns_;
  std::atomic<size_t> waiting_bytes_ = 0;

  mutable absl::Mutex mu_;
  TokenBucket new_connections_ ABSL_GUARDED_BY(mu_);
  PeerBuckets new_connections_of_ ABSL_GUARDED_BY(mu_);
  int connections_ ABSL_GUARDED_BY(mu_) = 0;
  int leaving_ ABSL_GUARDED_BY(mu_) = 0;  // of connections_, those that make room
  int calls_ ABSL_GUARDED_BY(mu_) = 0;
  // Of peers that have any.
  absl::flat_hash_map<std::string, int> connections_of_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<std::string, int> calls_of_ ABSL_GUARDED_BY(mu_);
};

}  // namespace peerage
