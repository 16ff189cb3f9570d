#include "server/door/reset_turns.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace peerage {

ResetTurns::Turn ResetTurns::Take(const std::string& peer, int resets, absl::Time now) {
  absl::MutexLock lock(&mu_);
  ForgetPeers(now);
  // They have waited longer.
  GiveTurns(now);
  Waiting one{.peer = peer, .resets = resets};
  if (Pass(one, now)) return kNow;
  waiting_.emplace(++last_, std::move(one));
  return last_;
}

bool ResetTurns::HasCome(Turn turn, absl::Time now) {
  absl::MutexLock lock(&mu_);
  GiveTurns(now);
  return !waiting_.contains(turn);
}

void ResetTurns::GiveUp(Turn turn) {
  absl::MutexLock lock(&mu_);
  waiting_.erase(turn);
}

void ResetTurns::GiveTurns(absl::Time now) {
  for (auto one = waiting_.begin(); one != waiting_.end() && all_.HasAny(now);) {
    one = Pass(one->second, now) ? waiting_.erase(one) : std::next(one);
  }
}

bool ResetTurns::Pass(const Waiting& one, absl::Time now) {
  TokenBucket& of_peer = peers_.try_emplace(one.peer, limits_.of_peer, now).first->second;
  if (!all_.HasAny(now) || !of_peer.HasAny(now)) return false;
  all_.TakeInAdvance(one.resets);
  of_peer.TakeInAdvance(one.resets);
  return true;
}

void ResetTurns::ForgetPeers(absl::Time now) {
  if (peers_.size() < forget_at_) return;
  absl::erase_if(peers_, [now](auto& peer) { return peer.second.IsWhole(now); });
  forget_at_ = std::max(forget_at_, 2 * peers_.size());
}

}  // namespace peerage
