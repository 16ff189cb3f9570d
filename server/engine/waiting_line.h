#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "server/engine/task.h"
#include "server/engine/waiting_counts.h"

namespace peerage {

// The tasks that wait, and which of them is next. The tenant for which least was computed comes
// first (virtual token counters: Sheng et al. 2024, "Fairness in Serving Large Language Models"),
// and of its tasks the one that is due first. A tenant that comes anew, or back from idling, begins
// at the fair share, which grows with all that is computed: it is not owed what it did not use, and
// whoever waits is passed by newcomers only until the share has reached what it was served. A debt
// halves in each kDebtHalfLife of idling.
//
// When the first task does not fit, others that do may pass it, for up to kPassingLimit: then
// nobody is let in before it.
//
// Whoever is to leave room for other tenants (TenantRoom) is passed by those that leave it as well,
// and by others of its own tenant for up to kPassingLimit, until kMostHeldBack of them have to
// leave it, too: however many there are, they hide no other tenant's.
//
// Threads: none; belongs to one scheduler.
// Cost: Next looks at kMostLookedAt tasks; everything is O(log waiting) otherwise.
class WaitingLine {
 public:
  static constexpr absl::Duration kPassingLimit = absl::Seconds(1);
  static constexpr absl::Duration kDebtHalfLife = absl::Seconds(10);
  static constexpr int kMostLookedAt = 32;
  static constexpr int kMostHeldBack = 4;           // of a tenant, that are looked at
  static constexpr size_t kMostIdleTenants = 1024;  // that are remembered

  void Add(std::unique_ptr<Task> task, absl::Time now);

  enum class Fit { kFits, kLacks, kLeavesRoom };  // the last one: to others, and so does not start

  // The next one to run, of those that fit; null when there is none. `fit` hears whether the task
  // passes one that leaves room.
  Task* Next(absl::Time now, absl::FunctionRef<Fit(Task&, bool passes)> fit);
  // The task runs from now on; its tenant is charged with all tokens that it brings, once.
  std::unique_ptr<Task> Start(Task& task);
  // The task, which has started, waits again.
  void Return(std::unique_ptr<Task> task);
  // The task, which has started, takes more tokens.
  void Charge(const Task& task, int64_t tokens);

  // The task ends without having started. Null when it does not wait.
  std::unique_ptr<Task> Remove(Task& task, absl::Time now);
  // The task, which has started, ends.
  void Leave(const Task& task, absl::Time now);

  // Tokens of the tenant's that were computed, less what is forgiven; nothing of one that idled for
  // so long that it is not remembered.
  std::optional<double> served(const std::string& tenant) const {
    const auto found = tenants_.find(tenant);
    if (found == tenants_.end()) return std::nullopt;
    return found->second.served;
  }
  // The largest difference of tokens served between tenants whose tasks wait.
  int64_t share_gap() const {
    if (line_.empty()) return 0;
    return static_cast<int64_t>(line_.rbegin()->first.first - line_.begin()->first.first);
  }
  // The first one, whether it fits or not; null when nobody waits.
  Task* front() const;
  // The first one, of the first of each of kMostLookedAt tenants in their order, of which this
  // holds.
  Task* FirstOfATenant(absl::FunctionRef<bool(const Task&)> condition) const;
  const Waiting& waiting() const { return waiting_; }
  // What has changed in that since this was last called, but for what was added.
  std::vector<WaitingChange> TakeChanges() { return std::exchange(changes_, {}); }

 private:
  struct Tenant {
    std::string name;
    double served = 0;  // tokens, less what is forgiven
    int64_t tasks = 0;  // waiting and running
    absl::Time idle_since = absl::InfinitePast();
    std::map<TaskOrder, std::unique_ptr<Task>> waiting = {};
  };
  using Share = std::pair<double, std::string>;  // served, name

  // Of those since the same time, addresses decide nothing: a run is to be repeatable.
  struct Sooner {
    static const std::string& Rank(const Tenant* tenant) { return tenant->name; }
    static const TaskOrder& Rank(const Task* task) { return task->order; }

    template <typename T>
    bool operator()(const std::pair<absl::Time, T*>& a, const std::pair<absl::Time, T*>& b) const {
      return a.first != b.first ? a.first < b.first : Rank(a.second) < Rank(b.second);
    }
  };

  Tenant& TenantOf(const Task& task) { return tenants_.at(task.sharer); }
  void Join(Tenant& tenant, absl::Time now);
  void PutIn(Tenant& tenant, std::unique_ptr<Task> task);
  void Serve(Tenant& tenant, int64_t tokens);
  std::unique_ptr<Task> TakeOut(Tenant& tenant, Task& task);

  std::unordered_map<std::string, Tenant> tenants_;
  std::map<Share, Tenant*> line_;                          // those with waiting tasks
  std::set<std::pair<absl::Time, Tenant*>, Sooner> idle_;  // those without tasks, since when
  std::set<std::pair<absl::Time, Task*>, Sooner> passed_;  // first, and did not fit, since when
  double fair_share_ = 0;   // tokens of one tenant with tasks, so far
  int64_t num_active_ = 0;  // tenants with tasks
  Waiting waiting_;
  std::vector<WaitingChange> changes_;
};

}  // namespace peerage
