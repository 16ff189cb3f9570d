#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <queue>
#include <vector>

#include "absl/time/time.h"
#include "client/bench/traffic.h"

namespace peerage::client {

// A call that is to begin. Times are from the start of the run.
struct DueCall {
  size_t call = 0;
  absl::Duration due;  // by the traffic's schedule
  // What its latencies count from: in a closed loop when the slot became free, else when it was
  // due, however late it is sent. So a server that stalls answers for all that it kept waiting.
  absl::Duration intended;
  uint32_t retries = 0;  // how often it was sent before
};

// Decides when calls begin. Pure: time is an argument. A call holds one of the traffic's slots
// until it ends; one that is tried again holds it meanwhile.
class Pacer {
 public:
  // Precondition: `arrivals` ascend.
  Pacer(const Traffic& traffic, std::vector<absl::Duration> arrivals);

  // A call that is to begin now, if there is one; the caller begins it.
  std::optional<DueCall> TakeDue(absl::Duration now);

  // When TakeDue will have one although no call ends; infinite when it will not.
  absl::Duration NextDue() const;

  // A call that was taken has ended.
  void End(absl::Duration now);
  // It has ended too, but is to be sent again at that time: TakeDue will give it as it is.
  void Retry(const DueCall& call, absl::Duration at);

  // Nothing begins any more.
  void Stop();

  // Whether all that was taken has ended, and nothing is left to begin.
  bool done() const { return running_ == 0 && next_ == arrivals_.size() && retries_.empty(); }

 private:
  struct Again {
    absl::Duration at;
    DueCall call;
    bool operator>(const Again& other) const { return at > other.at; }
  };

  bool HasSlot() const { return !limited_ || !free_since_.empty(); }

  const bool closed_loop_;
  const bool limited_;
  std::vector<absl::Duration> arrivals_;
  size_t next_ = 0;
  size_t running_ = 0;
  std::queue<absl::Duration> free_since_;  // of each free slot
  std::priority_queue<Again, std::vector<Again>, std::greater<>> retries_;
};

}  // namespace peerage::client
