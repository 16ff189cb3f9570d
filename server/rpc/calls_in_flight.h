#pragma once

#include <cstdint>
#include <map>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace peerage {

// Counts calls, so that somebody can wait for those of a moment while others go on coming.
//
// Threads: safe from many.
class CallsInFlight {
 public:
  // A call begins; to be told of its end, End gets what is returned.
  [[nodiscard]] uint64_t Begin() ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    ++running_[generation_];
    return generation_;
  }

  void End(uint64_t generation) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    const auto running = running_.find(generation);
    if (--running->second == 0) running_.erase(running);
  }

  // Returns when every call that has begun before has ended, at the latest at `deadline` (of the
  // system's clock). Whether they have.
  bool AwaitPresent(absl::Time deadline) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    const uint64_t present = generation_++;
    const auto ended = [this, present]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
      return running_.empty() || running_.begin()->first > present;
    };
    return mu_.AwaitWithDeadline(absl::Condition(&ended), deadline);
  }

 private:
  absl::Mutex mu_;
  uint64_t generation_ ABSL_GUARDED_BY(mu_) = 0;
  std::map<uint64_t, int64_t> running_ ABSL_GUARDED_BY(mu_);  // by generation, all above 0
};

// The calls of a server.
struct RunningCalls {
  CallsInFlight all;
  // Those that end by themselves, with results that clients wait for: not streams whose clients
  // decide how long they watch or go on asking.
  CallsInFlight answers;
};

}  // namespace peerage
