#include "server/engine/tenant_room.h"

#include <algorithm>

namespace peerage {
namespace {

RequestNeeds operator+(const RequestNeeds& a, const RequestNeeds& b) {
  return {.blocks = a.blocks + b.blocks, .sequences = a.sequences + b.sequences};
}

RequestNeeds operator-(const RequestNeeds& a, const RequestNeeds& b) {
  return {.blocks = a.blocks - b.blocks, .sequences = a.sequences - b.sequences};
}

RequestNeeds Max(const RequestNeeds& a, const RequestNeeds& b) {
  return {.blocks = std::max(a.blocks, b.blocks), .sequences = std::max(a.sequences, b.sequences)};
}

RequestNeeds Min(const RequestNeeds& a, const RequestNeeds& b) {
  return {.blocks = std::min(a.blocks, b.blocks), .sequences = std::min(a.sequences, b.sequences)};
}

// In every respect.
bool IsWithin(const RequestNeeds& a, const RequestNeeds& b) {
  return a.blocks <= b.blocks && a.sequences <= b.sequences;
}

}  // namespace

bool TenantRoom::MayTake(const Task& task, const RequestNeeds& available, bool passes,
                         absl::Time now) {
  const std::string& name = task.scheduling.tenant;
  const auto found = tenants_.find(name);
  const RequestNeeds would_hold =
      found == tenants_.end() ? task.asks : found->second.holds + task.asks;
  const bool holds_something = would_hold.sequences > task.asks.sequences;
  if (!passes && (!holds_something || IsWithin(would_hold, EqualPart()))) return true;
  Forget(now);
  return (!passes && IsWithin(would_hold, EqualPart())) ||
         IsWithin(task.asks + KeptForOthers(name), available);
}

void TenantRoom::Take(const Task& task, absl::Time now) {
  Tenant& tenant = Find(task, now);
  tenant.holds = tenant.holds + task.asks;
  tenant.most = Max(tenant.most, tenant.holds);
}

void TenantRoom::GiveBack(const Task& task, absl::Time now) {
  Tenant& tenant = Find(task, now);
  tenant.holds = tenant.holds - task.asks;
}

TenantRoom::Tenant& TenantRoom::Find(const Task& task, absl::Time now) {
  Tenant& tenant = tenants_.try_emplace(task.scheduling.tenant, Tenant{.since = now}).first->second;
  Age(tenant, now);
  return tenant;
}

void TenantRoom::Age(Tenant& tenant, absl::Time now) {
  if (now - tenant.since < kMemory) return;
  tenant.most_before = now - tenant.since < 2 * kMemory ? tenant.most : tenant.holds;
  tenant.most = tenant.holds;
  tenant.since = now;
}

RequestNeeds TenantRoom::LatelyHeld(const Tenant& tenant) {
  return Max(tenant.most, tenant.most_before);
}

RequestNeeds TenantRoom::EqualPart() const {
  const auto parts = static_cast<int64_t>(tenants_.size());
  return {.blocks = (capacity_.blocks + parts - 1) / parts,
          .sequences = (capacity_.sequences + parts - 1) / parts};
}

void TenantRoom::Forget(absl::Time now) {
  for (auto& [name, tenant] : tenants_) Age(tenant, now);
  std::erase_if(tenants_,
                [](const auto& entry) { return LatelyHeld(entry.second).sequences == 0; });
}

RequestNeeds TenantRoom::KeptForOthers(const std::string& tenant) const {
  const double own = line_.served(tenant);
  const RequestNeeds part = EqualPart();
  RequestNeeds kept;
  for (const auto& [name, other] : tenants_) {
    if (name == tenant || line_.served(name) >= own) continue;
    kept = kept + Max(Min(part, LatelyHeld(other)) - other.holds, {});
  }
  return Min(
      kept, {.blocks = capacity_.blocks / kKeptPart, .sequences = capacity_.sequences / kKeptPart});
}

}  // namespace peerage
