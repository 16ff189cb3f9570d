#include "server/engine/waiting_line.h"

#include <algorithm>
#include <cmath>

namespace peerage {

void WaitingLine::Add(std::unique_ptr<Task> task, absl::Time now) {
  Tenant& tenant = tenants_[task->sharer];
  tenant.name = task->sharer;
  Join(tenant, now);
  PutIn(tenant, std::move(task));
}

void WaitingLine::Return(std::unique_ptr<Task> task) {
  task->passed_since.reset();
  task->held_back_since.reset();
  Tenant& tenant = TenantOf(*task);
  changes_.push_back(BeginsToWait(*task));
  PutIn(tenant, std::move(task));
}

void WaitingLine::PutIn(Tenant& tenant, std::unique_ptr<Task> task) {
  waiting_ += WaitingOf(*task);
  if (tenant.waiting.empty()) line_.emplace(Share(tenant.served, tenant.name), &tenant);
  const TaskOrder order = task->order;
  tenant.waiting.emplace(order, std::move(task));
}

void WaitingLine::Join(Tenant& tenant, absl::Time now) {
  if (tenant.tasks++ > 0) return;
  idle_.erase({tenant.idle_since, &tenant});
  ++num_active_;
  const double debt = std::max(tenant.served - fair_share_, 0.0);
  const double half_lives = absl::FDivDuration(now - tenant.idle_since, kDebtHalfLife);
  tenant.served = fair_share_ + debt * std::exp2(-half_lives);
}

Task* WaitingLine::Next(absl::Time now, absl::FunctionRef<Fit(Task&, bool)> fit) {
  int looked_at = 0;
  for (const auto& [since, patient] : passed_) {
    if (now - since < kPassingLimit || ++looked_at == kMostLookedAt) break;
    const Fit fits = fit(*patient, false);
    if (fits != Fit::kLeavesRoom) return fits == Fit::kFits ? patient : nullptr;
  }
  looked_at = 0;
  bool passes = false;
  for (const auto& [share, tenant] : line_) {
    int held_back = 0;
    for (const auto& [order, task] : tenant->waiting) {
      const Fit fits = fit(*task, passes);
      if (fits == Fit::kFits) return task.get();
      if (fits == Fit::kLacks && looked_at == 0 && !task->passed_since) {
        task->passed_since = now;
        passed_.emplace(now, task.get());
      }
      if (++looked_at == kMostLookedAt) return nullptr;
      if (fits != Fit::kLeavesRoom) continue;
      passes = true;
      if (!task->held_back_since) task->held_back_since = task->passed_since.value_or(now);
      const bool for_long = now - *task->held_back_since >= kPassingLimit;
      if (for_long || ++held_back == kMostHeldBack) break;
    }
  }
  return nullptr;
}

std::unique_ptr<Task> WaitingLine::Start(Task& task) {
  Tenant& tenant = TenantOf(task);
  std::unique_ptr<Task> taken = TakeOut(tenant, task);
  if (task.preemptions == 0) Serve(tenant, task.work.tokens());
  return taken;
}

void WaitingLine::Charge(const Task& task, int64_t tokens) { Serve(TenantOf(task), tokens); }

void WaitingLine::Serve(Tenant& tenant, int64_t tokens) {
  fair_share_ += static_cast<double>(tokens) / static_cast<double>(num_active_);
  const bool waits = !tenant.waiting.empty();
  if (waits) line_.erase(Share(tenant.served, tenant.name));
  tenant.served += static_cast<double>(tokens);
  if (waits) line_.emplace(Share(tenant.served, tenant.name), &tenant);
}

std::unique_ptr<Task> WaitingLine::Remove(Task& task, absl::Time now) {
  Tenant& tenant = TenantOf(task);
  if (tenant.waiting.count(task.order) == 0) return nullptr;
  std::unique_ptr<Task> removed = TakeOut(tenant, task);
  Leave(task, now);
  return removed;
}

std::unique_ptr<Task> WaitingLine::TakeOut(Tenant& tenant, Task& task) {
  const auto place = tenant.waiting.find(task.order);
  std::unique_ptr<Task> taken = std::move(place->second);
  tenant.waiting.erase(place);
  if (tenant.waiting.empty()) line_.erase(Share(tenant.served, tenant.name));
  if (task.passed_since) passed_.erase({*task.passed_since, &task});
  changes_.push_back(CeasesToWait(task));
  waiting_ += changes_.back().more;
  return taken;
}

void WaitingLine::Leave(const Task& task, absl::Time now) {
  Tenant& tenant = TenantOf(task);
  if (--tenant.tasks > 0) return;
  --num_active_;
  tenant.idle_since = now;
  idle_.emplace(now, &tenant);
  if (idle_.size() <= kMostIdleTenants) return;
  const std::string longest_idle = idle_.begin()->second->name;
  idle_.erase(idle_.begin());
  tenants_.erase(longest_idle);
}

Task* WaitingLine::front() const {
  return line_.empty() ? nullptr : line_.begin()->second->waiting.begin()->second.get();
}

Task* WaitingLine::FirstOfATenant(absl::FunctionRef<bool(const Task&)> condition) const {
  int looked_at = 0;
  for (const auto& [share, tenant] : line_) {
    if (++looked_at > kMostLookedAt) break;
    Task* const task = tenant->waiting.begin()->second.get();
    if (condition(*task)) return task;
  }
  return nullptr;
}

}  // namespace peerage
