#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>

#include "absl/time/time.h"
#include "server/engine/task.h"
#include "server/engine/waiting_line.h"

namespace peerage {

// How much of what tasks share, of sequences and KV blocks, one tenant may hold. While it is alone
// it may hold everything. Beside others, one that would hold more than an equal part leaves room
// for those that were served less (WaitingLine): as much as they lately held at the most, each up
// to its equal part, and 1 / kKeptPart of all at the most. So what a modest tenant sends finds a
// place at once, whatever another one piles up, and little stands idle for it. (In simulation of 64
// sequences, calls of equal length and four tenants at an equal part of a load of 50 to 90 %: a
// fifth one that asks for ten times its part makes the others' p99 up to half as long again when
// nothing is kept, and 10 % longer at most with a tenth. With more than that the others hinder each
// other.)
//
// Tasks that run count with what they asked (Task::asks) until they end. What was held is
// remembered for kMemory, and up to twice as long.
//
// Threads: none; belongs to one scheduler.
// Cost: what is kept for others is summed once for a tenant and a turn in which it would hold more
// than its part; everything else is O(log tenants).
class TenantRoom {
 public:
  static constexpr absl::Duration kMemory = absl::Seconds(5);
  static constexpr int64_t kKeptPart = 10;
  static constexpr size_t kMostIdleTenants = 256;  // that are remembered

  // The line outlives it.
  TenantRoom(const RequestNeeds& capacity, const WaitingLine* line)
      : capacity_(capacity), line_(*line) {}

  // Whether the task may take what it asks of what is available, which is enough. When it passes
  // somebody who has to leave room, so has it, whatever it holds.
  bool MayTake(const Task& task, const RequestNeeds& available, bool passes, absl::Time now);

  // Whether the task's tenant, which holds something, would hold more than its part while others
  // were served less: nobody is to wait for such a task until there is enough for it. Never so
  // where there is too little to keep any of it.
  bool HoldsMuch(const Task& task, absl::Time now);

  // Whether the task's tenant holds something and, with the task, more than its part.
  bool IsOverItsPart(const Task& task, absl::Time now);
  // A tenant's equal part, when that of a task that waits has one, too.
  RequestNeeds PartBeside(const Task& waiting) const;
  // Whether the tenant of a task that runs holds more than that.
  bool HoldsMoreThan(const RequestNeeds& part, const Task& task) const;

  // The task, which runs from now on, holds what it asks.
  void Take(const Task& task, absl::Time now);
  // It does not run any more. What it asks is what it asked then.
  void GiveBack(const Task& task, absl::Time now);

  size_t num_tenants() const { return tenants_.size(); }

 private:
  struct Tenant {
    int64_t tasks = 0;
    RequestNeeds holds;
    // The most that it held at any time of the current kMemory, and of the one before.
    RequestNeeds most, most_before;
    absl::Time since;       // when the current one began
    absl::Time idle_since;  // without tasks
  };
  // What is kept for others of a tenant that was served so much.
  struct Kept {
    std::string tenant;
    uint64_t version = 0;
    absl::Time now;
    RequestNeeds needs;
    bool anybody_was_served_less = false;
  };

  static void Age(Tenant& tenant, absl::Time now);
  static RequestNeeds LatelyHeld(const Tenant& tenant);
  void ForgetIdle(absl::Time now);
  RequestNeeds EqualPart(size_t tenants) const;
  RequestNeeds EqualPart() const { return EqualPart(tenants_.size()); }
  RequestNeeds MostKept() const;
  const Kept& KeptForOthersOf(const std::string& tenant, absl::Time now);

  const RequestNeeds capacity_;
  const WaitingLine& line_;
  std::unordered_map<std::string, Tenant> tenants_;    // that hold something, or did lately
  std::set<std::pair<absl::Time, std::string>> idle_;  // those without tasks, since when
  uint64_t version_ = 0;                               // of what is held
  Kept kept_;                                          // what was summed last
};

}  // namespace peerage
