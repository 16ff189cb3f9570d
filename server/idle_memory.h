#pragma once

#include <cstdint>
#include <functional>
#include <utility>

#include "absl/time/time.h"
#include "server/engine/clock.h"
#include "server/experts/background_lane.h"

namespace peerage {

// So many arenas at most, where the environment does not say (MALLOC_ARENA_MAX): the C library
// would let each core have eight, and what a storm of calls leaves in one is of no use to another.
// To be called before there is a second thread.
void BoundArenas();

// Gives memory that was freed back to the system while no request runs: the C library keeps it, and
// a storm of calls would be paid for until the process ends. Only where there is much, since that
// takes milliseconds.
//
// Threads: the lane's. `lane`, which may take long now and then, and `clock` must outlive it; the
// lane must end before it.
class IdleMemory {
 public:
  static constexpr absl::Duration kInterval = absl::Seconds(5);
  static constexpr int64_t kMuch = 16 << 20;

  struct Process {
    std::function<bool()> is_idle;
    // Resident bytes less those that the heap has given out: what is free, and what is no heap's.
    // Below zero where it has given out what was never touched.
    std::function<int64_t()> spare_bytes;
    std::function<void()> give_back;
  };
  // This one.
  static Process ThisProcess(std::function<bool()> is_idle);

  IdleMemory(BackgroundLane* lane, const Clock* clock, Process process)
      : lane_(*lane), clock_(*clock), process_(std::move(process)) {}

  // Looks from now on.
  void Start();

 private:
  void LookLater();
  void Look();

  BackgroundLane& lane_;
  const Clock& clock_;
  const Process process_;
  // Bytes that were spare when all was given back, or fewer. What was used then, and is free since,
  // makes them more, and so does what was given back and is resident again.
  int64_t no_heaps_ = 0;
};

}  // namespace peerage
