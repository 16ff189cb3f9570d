#include "server/engine/tenant_room.h"

namespace peerage {

bool TenantRoom::MayTake(const Task& task, const RequestNeeds& available, bool passes,
                         absl::Time now) {
  if (!IsOverItsPart(task, now) && !passes) return true;
  const RequestNeeds kept = KeptForOthersOf(task.sharer, now).needs;
  return IsWithin(task.asks + kept, available);
}

bool TenantRoom::HoldsMuch(const Task& task, absl::Time now) {
  const RequestNeeds most = MostKept();
  return most.blocks + most.sequences > 0 && IsOverItsPart(task, now) &&
         KeptForOthersOf(task.sharer, now).anybody_was_served_less;
}

bool TenantRoom::IsOverItsPart(const Task& task, absl::Time now) {
  const auto found = tenants_.find(task.sharer);
  if (found == tenants_.end() || found->second.tasks == 0) return false;
  const RequestNeeds would_hold = found->second.holds + task.asks;
  if (IsWithin(would_hold, EqualPart())) return false;
  ForgetIdle(now);
  return !IsWithin(would_hold, EqualPart());
}

RequestNeeds TenantRoom::PartBeside(const Task& waiting) const {
  return EqualPart(tenants_.size() + (tenants_.count(waiting.sharer) == 0 ? 1 : 0));
}

bool TenantRoom::HoldsMoreThan(const RequestNeeds& part, const Task& task) const {
  return !IsWithin(tenants_.at(task.sharer).holds, part);
}

void TenantRoom::Take(const Task& task, absl::Time now) {
  ++version_;
  const std::string& name = task.sharer;
  Tenant& tenant = tenants_.try_emplace(name, Tenant{.since = now}).first->second;
  Age(tenant, now);
  if (tenant.tasks++ == 0) idle_.erase({tenant.idle_since, name});
  tenant.holds = tenant.holds + task.asks;
  tenant.most = LargerOf(tenant.most, tenant.holds);
}

void TenantRoom::GiveBack(const Task& task, absl::Time now) {
  ++version_;
  const std::string& name = task.sharer;
  Tenant& tenant = tenants_.at(name);
  Age(tenant, now);
  tenant.holds = tenant.holds - task.asks;
  if (--tenant.tasks > 0) return;
  tenant.idle_since = now;
  idle_.emplace(now, name);
  ForgetIdle(now);
}

void TenantRoom::ForgetIdle(absl::Time now) {
  while (!idle_.empty() &&
         (idle_.size() > kMostIdleTenants || now - idle_.begin()->first >= 2 * kMemory)) {
    tenants_.erase(idle_.begin()->second);
    idle_.erase(idle_.begin());
    ++version_;
  }
}

void TenantRoom::Age(Tenant& tenant, absl::Time now) {
  if (now - tenant.since < kMemory) return;
  tenant.most_before = now - tenant.since < 2 * kMemory ? tenant.most : tenant.holds;
  tenant.most = tenant.holds;
  tenant.since = now;
}

RequestNeeds TenantRoom::LatelyHeld(const Tenant& tenant) {
  return LargerOf(tenant.most, tenant.most_before);
}

RequestNeeds TenantRoom::EqualPart(size_t tenants) const {
  const auto parts = static_cast<int64_t>(tenants);
  return {.blocks = (capacity_.blocks + parts - 1) / parts,
          .sequences = (capacity_.sequences + parts - 1) / parts};
}

RequestNeeds TenantRoom::MostKept() const {
  return {.blocks = capacity_.blocks / kKeptPart, .sequences = capacity_.sequences / kKeptPart};
}

const TenantRoom::Kept& TenantRoom::KeptForOthersOf(const std::string& tenant, absl::Time now) {
  ForgetIdle(now);
  if (kept_.tenant == tenant && kept_.version == version_ && kept_.now == now) return kept_;
  const double own = line_.served(tenant).value_or(0);
  const RequestNeeds part = EqualPart();
  RequestNeeds sum;
  bool anybody = false;
  for (auto& [name, other] : tenants_) {
    if (name == tenant || line_.served(name).value_or(own) >= own) continue;
    anybody = true;
    Age(other, now);
    sum = sum + LargerOf(SmallerOf(part, LatelyHeld(other)) - other.holds, {});
  }
  kept_ = {.tenant = tenant,
           .version = version_,
           .now = now,
           .needs = SmallerOf(sum, MostKept()),
           .anybody_was_served_less = anybody};
  return kept_;
}

}  // namespace peerage
