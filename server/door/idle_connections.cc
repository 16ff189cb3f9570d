#include "server/door/idle_connections.h"

#include <utility>

namespace peerage {

IdleConnections::Member::Member(IdleConnections* all, absl::Time now, std::function<void()> leave)
    : all_(*all), leave_(std::move(leave)), since_(now) {
  absl::MutexLock lock(&all_.mu_);
  all_.members_.emplace(since_, this);
}

IdleConnections::Member::~Member() {
  absl::MutexLock lock(&all_.mu_);
  all_.members_.erase({since_, this});
}

void IdleConnections::Member::SetIdle(bool idle, absl::Time now) {
  absl::MutexLock lock(&all_.mu_);
  all_.members_.erase({since_, this});
  since_ = now;
  if (idle) all_.members_.emplace(since_, this);
}

bool IdleConnections::MakeRoom(absl::Time now) {
  absl::MutexLock lock(&mu_);
  if (members_.empty()) return false;
  const auto [since, member] = *members_.begin();
  if (now - since < kLeast) return false;
  members_.erase(members_.begin());
  member->leave_();
  return true;
}

}  // namespace peerage
