#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/token_bucket.h"
#include "server/door/peer_buckets.h"

namespace peerage {

// Every cancelled call costs the server behind the door memory that it does not give back soon. So
// all connections together pass on only so many, and those of one peer fewer, which leaves
// something to others. Who may not pass now waits for a turn: among those whose peer may, whoever
// has waited longest comes first.
//
// Threads: safe from many.
class ResetTurns {
 public:
  struct Limits {
    TokenBucket::Limits all{.at_once = 2000, .per_second = 500};
    TokenBucket::Limits of_peer{.at_once = 1500, .per_second = 300};
  };
  // Of one who waits.
  using Turn = uint64_t;
  static constexpr Turn kNow = 0;  // there is nothing to wait for

  ResetTurns(const Limits& limits, absl::Time now)
      : all_(limits.all, now), peers_(limits.of_peer) {}

  // Of a connection of this peer, which is to pass on so many cancelled calls.
  Turn Take(const std::string& peer, int resets, absl::Time now) ABSL_LOCKS_EXCLUDED(mu_);
  // To be asked now and then; once true, the turn is over.
  bool HasCome(Turn turn, absl::Time now) ABSL_LOCKS_EXCLUDED(mu_);
  // Nobody waits for this one any more. Nothing happens to one that is over.
  void GiveUp(Turn turn) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Waiting {
    std::string peer;
    int resets;
  };

  void GiveTurns(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool Pass(const Waiting& one, absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Mutex mu_;
  TokenBucket all_ ABSL_GUARDED_BY(mu_);
  PeerBuckets peers_ ABSL_GUARDED_BY(mu_);
  Turn last_ ABSL_GUARDED_BY(mu_) = kNow;
  std::map<Turn, Waiting> waiting_ ABSL_GUARDED_BY(mu_);
};

}  // namespace peerage
