#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>

#include "absl/time/time.h"

namespace peerage {

// How long a call waits for a client that does not take what is written: `patience` at a time, less
// what it has waited before, more for what the client has taken since. So a client that takes a
// drop now and then comes to an end, too, and one that keeps a pace never does.
//
// Threads: none.
class ReadingBudget {
 public:
  // The pace: a message, such as a token, in half a second, or so many bytes.
  static constexpr absl::Duration kMessage = absl::Milliseconds(500);
  static constexpr int kBytesPerSecond = 64 << 10;

  explicit ReadingBudget(absl::Duration patience) : patience_(patience), left_(patience) {}

  // A message is written from now on, or the end of the call when there are no bytes.
  void Begin(absl::Time now, size_t bytes) {
    if (!since_.has_value()) since_ = now;
    left_ += std::max(kMessage, absl::Seconds(1) * bytes / kBytesPerSecond);
  }

  // The client has taken it.
  void End(absl::Time now) {
    if (!since_.has_value()) return;
    left_ = std::min(patience_, left_ - (now - *since_));
    since_.reset();
  }

  // Since when something is written that has not been taken; InfiniteFuture: nothing is.
  absl::Time waits_since() const { return since_.value_or(absl::InfiniteFuture()); }

  // When the call has waited long enough.
  absl::Time end() const { return waits_since() + left_; }

 private:
  const absl::Duration patience_;
  absl::Duration left_;
  std::optional<absl::Time> since_;
};

}  // namespace peerage
