#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/bench/pacer.h"

namespace peerage::client {

// Tokens that came together: how long after those before them, of the first ones after the call's
// intended time. Small, because long runs keep millions.
struct Arrived {
  float seconds = 0;
  uint32_t tokens = 0;
};

// What became of one call. Times are from the start of the run.
struct CallRecord {
  DueCall begun;
  absl::Duration sent;  // the last time, when it was sent again
  absl::Duration ended;
  absl::Status status;
  uint32_t prompt_tokens = 0;
  uint32_t cached_prompt_tokens = 0;
  uint32_t output_tokens = 0;  // generated, or those of all continuations
  uint32_t items = 0;          // continuations that were scored
  std::vector<Arrived> arrived;
  std::string text;  // when it is to be kept

  absl::Duration latency() const { return ended - begun.intended; }
  absl::Duration queued() const { return sent - begun.due; }  // here, not at the server
  absl::Duration time_to_first_token() const {
    return arrived.empty() ? absl::ZeroDuration() : absl::Seconds(arrived.front().seconds);
  }
  // Of those after the first; zero when there are none.
  absl::Duration time_per_output_token() const {
    if (arrived.empty() || output_tokens < 2) return absl::ZeroDuration();
    return (latency() - time_to_first_token()) / (output_tokens - 1);
  }
};

}  // namespace peerage::client
