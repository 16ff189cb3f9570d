#pragma once

#include <optional>

#include "absl/time/time.h"
#include "server/engine/response_sink.h"

namespace peerage {

// The moments of a request, or of one of its candidates, from which its timings follow.
struct Timeline {
  absl::Time arrival;
  std::optional<absl::Time> scheduled;  // its first step
  std::optional<absl::Time> first_token;
  std::optional<absl::Time> last_token;

  void MarkToken(absl::Time now) {
    if (!first_token) first_token = now;
    last_token = now;
  }

  // A phase that was not reached is zero; who was never scheduled has queued until `now`.
  Timings At(absl::Time now) const {
    Timings timings{.queue = scheduled.value_or(now) - arrival};
    if (first_token) {
      timings.prefill = *first_token - *scheduled;
      timings.decode = *last_token - *first_token;
      timings.time_to_first_token = *first_token - arrival;
    }
    return timings;
  }
};

}  // namespace peerage
