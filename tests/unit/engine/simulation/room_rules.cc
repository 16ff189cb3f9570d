#include "tests/unit/engine/simulation/room_rules.h"

#include <algorithm>

namespace peerage {
namespace {

constexpr double kSurely = 1e-6;  // apart: sums of the same numbers in another order

}  // namespace

RoomRules::RoomRules(const World& world, Verdict* verdict, Coverage* coverage)
    : capacity_({.blocks = world.num_blocks, .sequences = world.max_sequences}),
      most_room_({.blocks = capacity_.blocks / TenantRoom::kKeptPart,
                  .sequences = capacity_.sequences / TenantRoom::kKeptPart}),
      is_optimistic_(world.optimistic),
      verdict_(*verdict),
      coverage_(*coverage),
      available_before_(capacity_) {}

void RoomRules::AfterAdmission(LiveClients clients, absl::Span<const Client* const> admitted,
                               const RequestNeeds& available, const Shares* before,
                               const Shares& after, absl::Time now) {
  Count(clients, admitted);
  if (before != nullptr) CheckRoom(clients, admitted, available, *before, after, now);
  Remember(now);
  least_available_ = available_before_;
  for (const Client* const client : admitted) {
    if (client->runs) least_available_ = least_available_ - client->task->asks;
  }
  nobody_leaves_room_ = std::all_of(clients.begin(), clients.end(),
                                    [&](const Client* client) {
                                      return !client->waits() || IsFree(*client, /*waits=*/true);
                                    }) &&
                        std::all_of(admitted.begin(), admitted.end(), [&](const Client* client) {
                          return client->reader->done() || IsFree(*client, /*waits=*/false);
                        });
}

void RoomRules::Count(LiveClients clients, absl::Span<const Client* const> admitted) {
  for (size_t i = 0; i < kTenants; ++i) {
    held_before_[i] = tenants_[i].holds;
    tenants_[i].holds = {};
    tenants_[i].tasks = 0;
    tenants_[i].admitted = false;
  }
  for (const Client* const client : clients) {
    if (!client->runs) continue;
    Tenant& tenant = tenants_[client->tenant];
    tenant.holds = tenant.holds + client->task->asks;
    ++tenant.tasks;
  }
  for (const Client* const client : admitted) tenants_[client->tenant].admitted = true;
}

void RoomRules::CheckRoom(LiveClients clients, absl::Span<const Client* const> admitted,
                          const RequestNeeds& available, const Shares& before, const Shares& after,
                          absl::Time now) {
  const bool somebody_waits = std::any_of(clients.begin(), clients.end(),
                                          [](const Client* client) { return client->waits(); });
  // Branches that nothing is promised to may have taken the room, and those of an optimistic world.
  if (!somebody_waits || is_optimistic_) return;
  for (size_t i = 0; i < kTenants; ++i) {
    const Tenant& tenant = tenants_[i];
    // One that holds nothing yet may take what it asks.
    if (!tenant.admitted || tenant.tasks < 2) continue;
    int64_t remembered = 1;
    for (size_t j = 0; j < kTenants; ++j) {
      remembered += j != i && tenants_[j].held_until > now - TenantRoom::kMemory;
    }
    const RequestNeeds part = EqualPart(remembered);
    if (IsWithin(tenant.holds, part)) continue;
    const RequestNeeds smallest_part = EqualPart(kTenants);
    RequestNeeds kept;
    for (size_t j = 0; j < kTenants; ++j) {
      if (j == i || after[j] + kSurely >= before[i]) continue;
      kept = kept + KeptFor(tenants_[j], smallest_part, now);
    }
    kept = SmallerOf(kept, most_room_);
    // What others took behind it was still left.
    RequestNeeds left = available;
    for (const Client* const client : admitted) {
      if (client->runs && client->tenant != static_cast<int>(i)) {
        left = left + client->task->asks;
      }
    }
    coverage_.left_room += kept.blocks + kept.sequences > 0;
    verdict_.Require(IsWithin(kept, left), "tenant ", i, ", beyond its part, leaves ", left.blocks,
                     " blocks and ", left.sequences, " sequences to others, of ", kept.blocks,
                     " and ", kept.sequences, " to be left");
  }
}

// At least.
RequestNeeds RoomRules::KeptFor(const Tenant& tenant, const RequestNeeds& part,
                                absl::Time now) const {
  RequestNeeds most;
  for (const auto& [until, holds] : tenant.held) {
    if (until > now - TenantRoom::kMemory) most = LargerOf(most, holds);
  }
  return LargerOf(SmallerOf(part, most) - tenant.holds, {});
}

void RoomRules::Remember(absl::Time now) {
  most_remembered_ = 0;
  for (size_t i = 0; i < kTenants; ++i) {
    Tenant& tenant = tenants_[i];
    const bool held_some = held_before_[i].sequences > 0;
    if (tenant.tasks > 0 || tenant.admitted || held_some) tenant.may_hold_until = now;
    if (tenant.tasks > 0) {
      tenant.held_until = now;
      const bool is_same = !tenant.held.empty() &&
                           tenant.held.back().second.blocks == tenant.holds.blocks &&
                           tenant.held.back().second.sequences == tenant.holds.sequences;
      if (!is_same) tenant.held.emplace_back(now, tenant.holds);
      tenant.held.back().first = now;
    }
    most_remembered_ += tenant.may_hold_until > now - 2 * TenantRoom::kMemory;
  }
}

RequestNeeds RoomRules::EqualPart(int64_t tenants) const {
  return {.blocks = (capacity_.blocks + tenants - 1) / tenants,
          .sequences = (capacity_.sequences + tenants - 1) / tenants};
}

bool RoomRules::LeavesNone(const Client& waiting) const { return IsFree(waiting, /*waits=*/true); }

// It may take what it asks without leaving anything, or there was enough for both at any moment.
bool RoomRules::IsFree(const Client& client, bool waits) const {
  const Tenant& tenant = tenants_[client.tenant];
  const bool is_first_one = tenant.tasks <= (waits ? 0 : 1);
  if (is_first_one || most_remembered_ <= 1 || IsWithin(most_room_, {})) return true;
  const RequestNeeds& asks = client.task->asks;
  const RequestNeeds would_hold = waits ? tenant.holds + asks : tenant.holds;
  if (IsWithin(would_hold, EqualPart(most_remembered_))) return true;
  return !is_optimistic_ && IsWithin(asks + most_room_, least_available_);
}

}  // namespace peerage
