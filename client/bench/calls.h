#pragma once

#include <chrono>
#include <functional>

#include "absl/time/time.h"
#include "client/bench/call_record.h"

namespace peerage::client {

// The time since a run began, by a clock that nobody sets.
class RunClock {
 public:
  absl::Duration Now() const {
    return absl::FromChrono(std::chrono::steady_clock::now() - started_);
  }

 private:
  std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
};

// Makes the calls of a run. Threads: safe from many.
class Calls {
 public:
  using Done = std::function<void(CallRecord)>;

  virtual ~Calls() = default;

  // Sends one call and returns at once. `done` is called exactly once, from any thread, when it has
  // ended, whatever its status. `clock` and what `done` uses must live until then.
  virtual void Start(const DueCall& call, const RunClock& clock, Done done) = 0;

  // Ends those that run, and every later one, with CANCELLED.
  virtual void Cancel() = 0;
};

}  // namespace peerage::client
