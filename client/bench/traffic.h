#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "absl/time/time.h"

namespace peerage::client {

// The rate grows from the first request to the last.
struct RampUp {
  bool exponential = false;  // else linear
  double start_rps = 0;      // positive
  double end_rps = 0;
};

// When requests are to be sent.
struct Traffic {
  double request_rate = std::numeric_limits<double>::infinity();  // a second; infinite: all at once
  // The shape of the gamma distribution of the intervals: 1 is a Poisson process, less comes in
  // bursts, more is more even. Positive.
  double burstiness = 1;
  std::optional<RampUp> ramp_up;  // in place of the rate
  std::optional<uint32_t> max_concurrency;

  // Whether requests come at times of their own, whatever becomes of those before them.
  bool open_loop() const;
  // Whether a request comes when one before it has ended: so many users, who wait for answers.
  bool closed_loop() const { return !open_loop() && max_concurrency.has_value(); }
};

// When each request comes, from the start of the run, in order. With a constant rate the last one
// comes at count / rate exactly, so that the rate is not left to the seed.
std::vector<absl::Duration> Arrivals(const Traffic& traffic, size_t count, uint64_t seed);

}  // namespace peerage::client
