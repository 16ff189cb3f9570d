#pragma once

#include <algorithm>

#include "absl/time/time.h"

namespace peerage {

// The time in which a client is listened to, for clocks that judge it: while nobody reads, what it
// sends waits in the system, and it is not to blame for that.
class ListeningTime {
 public:
  explicit ListeningTime(absl::Time now) : since_(now) {}

  // As long ago as `now` without the times for which the client was excused.
  absl::Time At(absl::Time now) const { return now - excused_ - Excused(now); }

  // From now on nobody listens, for which the client is excused, so long at most; zero: somebody
  // does again.
  void Excuse(absl::Duration most, absl::Time now) {
    excused_ += Excused(now);
    since_ = now;
    most_ = most;
  }

 private:
  absl::Duration Excused(absl::Time now) const {
    return std::min(std::max(now - since_, absl::ZeroDuration()), most_);
  }

  absl::Duration excused_;
  absl::Time since_;  // this has been so
  absl::Duration most_;
};

}  // namespace peerage
