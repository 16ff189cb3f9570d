#pragma once

#include "absl/synchronization/mutex.h"

namespace peerage {

// For the beginning of a program that ships. Debian's Abseil is built with its checks for
// debugging: every lock that is taken is looked up in one graph of all locks, behind one spin lock,
// to find orders that may deadlock. gRPC takes dozens for a message, and its threads wait for each
// other there. Tests leave the check on, and find such orders.
inline void LeaveLockOrderUnchecked() {
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
}

}  // namespace peerage
