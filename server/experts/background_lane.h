#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/engine/clock.h"

namespace peerage {

// Processor time of the calling thread.
absl::Duration ThreadTime();

// One thread for work that would hold up a worker or a caller: it runs tasks one after the other,
// in the order in which they come, and some at a later time. Nothing overtakes a long task, so work
// of different lengths takes different lanes: the server has one for answers, which take
// milliseconds, one for the sums over all experts that somebody waits for, which may take seconds,
// and one of the lowest priority for those that nobody waits for.
//
// Threads: safe from many. The destructor runs every task that waits for its turn, drops those that
// wait for their time, and joins.
class BackgroundLane {
 public:
  // Lowest: gets what no other thread wants, and little more.
  enum class Priority { kNormal, kLowest };

  // `clock` must outlive the lane.
  explicit BackgroundLane(const Clock* clock, Priority priority = Priority::kNormal);
  ~BackgroundLane();

  BackgroundLane(const BackgroundLane&) = delete;
  BackgroundLane& operator=(const BackgroundLane&) = delete;

  void Run(std::function<void()> task);
  // Returns what Forget takes.
  using Timer = std::pair<absl::Time, uint64_t>;
  Timer RunAt(absl::Time when, std::function<void()> task);
  // The task does not run, unless its time has come already. What it holds is let go of.
  void Forget(const Timer& timer);

  // Of tasks that wait for their time.
  size_t num_timers() const;

  // Looks at the clock again: for clocks that jump.
  void Wake();

 private:
  void Loop();
  // The next task; none when the thread is to end.
  std::function<void()> Next();

  const Clock* const clock_;
  const Priority priority_;

  mutable absl::Mutex mu_;
  absl::CondVar changed_;
  std::deque<std::function<void()>> ready_ ABSL_GUARDED_BY(mu_);
  std::map<Timer, std::function<void()>> later_ ABSL_GUARDED_BY(mu_);
  uint64_t last_timer_ ABSL_GUARDED_BY(mu_) = 0;
  bool ending_ ABSL_GUARDED_BY(mu_) = false;

  std::thread thread_;
};

}  // namespace peerage
