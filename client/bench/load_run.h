#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "client/bench/calls.h"
#include "client/bench/pacer.h"
#include "client/bench/traffic.h"

namespace peerage::client {

struct LoadRunOptions {
  Traffic traffic;
  size_t count = 0;       // of calls
  uint64_t seed = 0;      // of when they come
  uint32_t retries = 0;   // of a call that was refused for now (RESOURCE_EXHAUSTED, UNAVAILABLE)
  size_t first_call = 0;  // the number of the first one, which says what is sent
};

struct RunRecords {
  std::vector<CallRecord>
      calls;                // in the order of their numbers; those that Stop() cut are left out
  size_t unfinished = 0;    // calls that were not made to their end
  absl::Duration duration;  // to the end of the last call
};

// Makes calls as the traffic says, and keeps what became of each.
class LoadRun {
 public:
  LoadRun(const LoadRunOptions& options, Calls& calls);

  // Returns when all calls have ended. `on_progress` hears now and then, on this thread, how many
  // have. Once.
  RunRecords Run(const std::function<void(size_t ended)>& on_progress);

  // Begins no more calls and cancels those that run. From any thread, also before Run.
  void Stop();

 private:
  void Loop(const std::function<void(size_t ended)>& on_progress);
  void Begin(const DueCall& call);
  void End(CallRecord record);

  const LoadRunOptions options_;
  Calls& calls_;
  const RunClock clock_;

  absl::Mutex mu_;
  absl::CondVar changed_;
  Pacer pacer_ ABSL_GUARDED_BY(mu_);
  std::vector<CallRecord> records_ ABSL_GUARDED_BY(mu_);
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
};
}  // namespace peerage::client
