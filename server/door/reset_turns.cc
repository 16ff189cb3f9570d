#include "server/door/reset_turns.h"

#include <iterator>
#include <utility>

namespace peerage {

ResetTurns::Turn ResetTurns::Take(const std::string& peer, int resets, absl::Time now) {
  absl::MutexLock lock(&mu_);
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
  for (auto one = waiting_.begin(); one != waiting_.end() && all_.Has(1, now);) {
    one = Pass(one->second, now) ? waiting_.erase(one) : std::next(one);
  }
}

bool ResetTurns::Pass(const Waiting& one, absl::Time now) {
  TokenBucket& of_peer = peers_.Of(one.peer, now);
  if (!all_.Has(1, now) || !of_peer.Has(1, now)) return false;
  all_.TakeInAdvance(one.resets);
  of_peer.TakeInAdvance(one.resets);
  return true;
}

}  // namespace peerage
