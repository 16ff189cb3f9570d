#pragma once

#include <functional>
#include <set>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace peerage {

// Connections on which no call runs. Where there is no place left for another one, that which has
// been idle for longest makes room: a client that is served never does, and however many hosts hold
// connections, they cannot shut out one that calls.
//
// Threads: safe from many; every call is short.
class IdleConnections {
 public:
  // Whoever has just come may be about to call, and refusing others costs less than serving them.
  static constexpr absl::Duration kLeast = absl::Milliseconds(10);

  // A connection, idle at first, as long as this lives.
  class Member {
   public:
    // `leave` is called once at most, by whoever needs its place: it must not wait.
    Member(IdleConnections* all, absl::Time now, std::function<void()> leave);
    ~Member();

    Member(const Member&) = delete;
    Member& operator=(const Member&) = delete;

    // A call runs on it, or none does from now on.
    void SetIdle(bool idle, absl::Time now);

   private:
    friend class IdleConnections;

    IdleConnections& all_;
    const std::function<void()> leave_;
    absl::Time since_ ABSL_GUARDED_BY(all_.mu_);
  };

  // Has one leave. Whether there is one that has been idle for kLeast.
  bool MakeRoom(absl::Time now) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  absl::Mutex mu_;
  std::set<std::pair<absl::Time, Member*>> members_ ABSL_GUARDED_BY(mu_);  // those that are idle
};

}  // namespace peerage
