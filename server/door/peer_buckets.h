#pragma once

#include <algorithm>
#include <cstddef>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "base/token_bucket.h"

namespace peerage {

// How often something may happen for each peer.
//
// Threads: none.
class PeerBuckets {
 public:
  explicit PeerBuckets(TokenBucket::Limits limits) : limits_(limits) {}

  // The peer's own, until the next call.
  TokenBucket& Of(const std::string& peer, absl::Time now) {
    if (buckets_.size() >= forget_at_) Forget(now);
    return buckets_.try_emplace(peer, limits_, now).first->second;
  }

 private:
  // Peers that have all of their allowance are as those who never took any: so that there are not
  // more and more of them.
  void Forget(absl::Time now) {
    absl::erase_if(buckets_, [now](auto& peer) { return peer.second.IsWhole(now); });
    forget_at_ = std::max(forget_at_, 2 * buckets_.size());
  }

  const TokenBucket::Limits limits_;
  absl::flat_hash_map<std::string, TokenBucket> buckets_;
  size_t forget_at_ = 1024;
};

}  // namespace peerage
