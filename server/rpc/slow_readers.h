#pragma once

#include <grpcpp/server_context.h>

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/engine/clock.h"
#include "server/experts/background_lane.h"
#include "server/log/log.h"
#include "server/rpc/reading_budget.h"
#include "server/rpc/unsent_bytes.h"

namespace peerage {

struct SlowReaderLimits {
  absl::Duration patience = absl::Minutes(1);  // ReadingBudget
  int64_t max_unsent_bytes = 256 << 20;
};

// Ends the calls, of every method, whose clients do not take what is written to them: such a call
// would hold its answer, and what else it has, for as long as its client likes. The client is told
// RESOURCE_EXHAUSTED at once, past what it has not taken.
//
// Once the bytes of all unsent answers are half of what they may be, those whose clients have taken
// nothing for longest are ended, in halves, until they are less.
//
// Threads: safe from many.
class SlowReaders : public std::enable_shared_from_this<SlowReaders> {
 public:
  // What SlowReaders knows of one call, while it lasts.
  class Call {
   public:
    Call(std::shared_ptr<SlowReaders> readers, std::string method);
    ~Call();

    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

    // What of gRPC's call is written, from now on: a message, or its end, of no bytes.
    void OnWrite(grpc_call* call, size_t bytes);
    void OnWritten();
    // Whether it was ended for its client's sake.
    bool ended() const;

   private:
    friend class SlowReaders;

    const std::shared_ptr<SlowReaders> readers_;
    const std::string method_;

    mutable absl::Mutex mu_;
    ReadingBudget budget_ ABSL_GUARDED_BY(mu_);
    grpc_call* call_ ABSL_GUARDED_BY(mu_) = nullptr;  // alive as long as this
    bool ended_ ABSL_GUARDED_BY(mu_) = false;
  };

  // `clock` and `log` must live until Stop, `unsent` is what answers are counted by.
  SlowReaders(const SlowReaderLimits& limits, UnsentBytes unsent, const Clock* clock, Log* log)
      : limits_(limits), unsent_(std::move(unsent)), clock_(clock), log_(log) {}

  // Looks after all calls every now and then, on a lane where nothing takes long, until Stop, which
  // waits for the last look.
  void Start(BackgroundLane* lane);
  void Stop() ABSL_LOCKS_EXCLUDED(stop_mu_);

  // RESOURCE_EXHAUSTED, with a retry delay, while there are as many unsent bytes as there may be:
  // nothing more is then computed for anybody.
  absl::Status CheckRoom() const;

  const UnsentBytes& unsent() const { return unsent_; }

 private:
  // One call that is about to be ended.
  struct Ending {
    grpc_call* call = nullptr;  // held
    std::string method;
    absl::Time waits_since;
  };

  void LookLater(BackgroundLane* lane);
  // Ends whom it must.
  void Look() ABSL_LOCKS_EXCLUDED(mu_);
  std::vector<Ending> TakeLate(absl::Time now) ABSL_LOCKS_EXCLUDED(mu_);
  // Of those that wait, the half that has waited longest.
  std::vector<Ending> TakeLongest(absl::Time now) ABSL_LOCKS_EXCLUDED(mu_);
  template <typename Condition>
  std::vector<Ending> Take(Condition condition) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void End(const std::vector<Ending>& calls, const absl::Status& reason) const;
  bool IsCrowded() const { return unsent_.total() > limits_.max_unsent_bytes / 2; }

  const SlowReaderLimits limits_;
  const UnsentBytes unsent_;
  const Clock* const clock_;
  Log* const log_;

  absl::Mutex stop_mu_;  // held while calls are looked after
  bool stopped_ ABSL_GUARDED_BY(stop_mu_) = false;

  absl::Mutex mu_ ABSL_ACQUIRED_AFTER(stop_mu_);
  std::unordered_set<Call*> calls_ ABSL_GUARDED_BY(mu_);
};

}  // namespace peerage
