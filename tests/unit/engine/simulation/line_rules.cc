#include "tests/unit/engine/simulation/line_rules.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <utility>

namespace peerage {
namespace {

constexpr double kMargin = 1e-6;  // sums of the same numbers in another order

RequestNeeds AvailableOf(const Reservations& reservations) {
  return {.blocks = reservations.blocks().num_available(),
          .sequences = reservations.num_available_sequences()};
}

// What is promised to the one is enough for the other. Who has ended at once was promised nothing.
bool AsksNoMore(const Client& a, const Client& b) {
  return !b.reader->done() && a.task->asks.blocks <= b.task->asks.blocks &&
         a.task->asks.sequences <= b.task->asks.sequences;
}

// Somebody else may have been first in line for so long that nobody is let in before it.
bool OthersMayBePatient(LiveClients clients, const Client& but, absl::Time now) {
  return std::any_of(clients.begin(), clients.end(), [&](const Client* other) {
    return other != &but && other->waits() && now - other->line.since >= WaitingLine::kPassingLimit;
  });
}

// So many of its tenant may be held back, and looked at before it, that it is not.
bool MayBeBehindOthersHeldBack(LiveClients clients, const Client& client) {
  return std::count_if(clients.begin(), clients.end(), [&client](const Client* other) {
           return other->waits() && other->tenant == client.tenant;
         }) > WaitingLine::kMostHeldBack;
}

bool IsMoreThanLookedAt(LiveClients clients) {
  return std::count_if(clients.begin(), clients.end(), [](const Client* client) {
           return client->waits();
         }) > WaitingLine::kMostLookedAt;
}

}  // namespace

LineRules::LineRules(const World& world, Verdict* verdict, Coverage* coverage)
    : is_crowd_(world.is_crowd),
      is_optimistic_(world.optimistic),
      max_sequences_(world.max_sequences),
      verdict_(*verdict),
      coverage_(*coverage),
      room_rules_(world, verdict, coverage) {
  size_t longest_prompt = 0, longest_answer = 0;
  for (const Arrival& arrival : world.arrivals) {
    has_one_tenant_ &= arrival.scheduling().tenant == world.arrivals[0].scheduling().tenant;
    if (!is_crowd_) continue;
    const auto& request = std::get<GenerateRequest>(arrival.request);
    longest_prompt = std::max(longest_prompt, request.prompt.size());
    longest_answer = std::max<size_t>(longest_answer, request.stopping.max_tokens);
  }
  fairness_bound_ = static_cast<int64_t>(longest_prompt + 2 * world.max_sequences * longest_answer);
}

void LineRules::AfterAdmission(LiveClients clients, const Reservations& reservations,
                               absl::Time now) {
  for (Client* const client : clients) {
    if (!client->line.joined) Join(*client, now);
    if (client->line.admitted && !client->runs && !client->reader->done()) ThrowOut(*client);
  }
  for (Client* const client : clients) {
    // One that has ended well without having been admitted had nothing to compute.
    const bool ends = !client->line.left && client->reader->done();
    if (ends && (client->line.admitted || !client->reader->status().ok())) Leave(*client, now);
  }
  for (size_t i = 0; i < tenants_.size(); ++i) shares_before_[i] = tenants_[i].share;
  Admit(clients, now);
  const RequestNeeds available = AvailableOf(reservations);
  RoomRules::Shares shares;
  for (size_t i = 0; i < tenants_.size(); ++i) shares[i] = tenants_[i].share;
  room_rules_.AfterAdmission(clients, admitted_, available, exact_ ? &shares_before_ : nullptr,
                             shares, now);
  for (const Client* client : admitted_) CheckPassed(*client, clients, now);
  FindFirst(clients, now);
  if (is_optimistic_) {
    CheckIdleOfOptimistic(clients, available, now);
  } else {
    CheckIdle(clients, available, now);
  }
  CheckFairness(clients);
}

void LineRules::Join(Client& client, absl::Time now) {
  client.line.joined = true;
  client.line.since = now;
  if (!began_) began_ = now;
  Tenant& tenant = tenants_[client.tenant];
  tenant.backlogged &= now == *began_;
  if (tenant.tasks++ > 0) return;
  ++num_active_;
  const double debt = std::max(tenant.share - fair_share_, 0.0);
  const double idle = absl::FDivDuration(now - tenant.idle_since, WaitingLine::kDebtHalfLife);
  tenant.share = fair_share_ + debt * std::exp2(-idle);
}

// It waits again, and is no newcomer.
void LineRules::ThrowOut(Client& client) {
  client.line.admitted = false;
  client.line.first_since.reset();
}

void LineRules::Leave(Client& client, absl::Time now) {
  client.line.left = true;
  Tenant& tenant = tenants_[client.tenant];
  if (--tenant.tasks > 0) return;
  --num_active_;
  tenant.idle_since = now;
}

void LineRules::Serve(Tenant& tenant, int64_t tokens) {
  fair_share_ += static_cast<double>(tokens) / static_cast<double>(num_active_);
  tenant.share += static_cast<double>(tokens);
  tenant.served += tokens;
}

void LineRules::Charge(const Client& client, int64_t tokens) {
  Serve(tenants_[client.tenant], tokens);
}

void LineRules::Admit(LiveClients clients, absl::Time now) {
  admitted_.clear();
  for (Client* const client : clients) {
    const bool at_once = client->reader->done();
    if (client->line.left || client->line.admitted || !(at_once || client->runs)) continue;
    client->line.admitted = true;
    admitted_.push_back(client);
    if (!std::exchange(client->charged, true)) {
      Serve(tenants_[client->tenant], client->known_tokens);
    }
    if (!at_once) continue;
    Leave(*client, now);
    exact_ = has_one_tenant_;  // when it left is not known
  }
}

void LineRules::CheckPassed(const Client& admitted, LiveClients clients, absl::Time now) {
  for (const Client* const waiting : clients) {
    if (!waiting->waits()) continue;
    verdict_.Require(!IsBefore(*waiting, admitted, now) || !AsksNoMore(*waiting, admitted),
                     "request ", admitted.arrival->handle, " passes request ",
                     waiting->arrival->handle);
    const bool is_patient = room_rules_.nobody_leaves_room() && waiting->line.first_since &&
                            now - *waiting->line.first_since >= WaitingLine::kPassingLimit;
    verdict_.Require(!is_patient || admitted.line.since <= *waiting->line.first_since, "request ",
                     admitted.arrival->handle, " passes request ", waiting->arrival->handle,
                     ", which was first for too long");
    coverage_.patient += is_patient;
  }
}

bool LineRules::IsBefore(const Client& waiting, const Client& admitted, absl::Time now) const {
  const bool may_be_patient = now - admitted.line.since >= WaitingLine::kPassingLimit;
  if (waiting.tenant == admitted.tenant) {
    // It was first only while nobody of its tenant was before it.
    const bool always_waited = waiting.preemptions == 0 && admitted.preemptions == 0;
    return (always_waited || !may_be_patient) && waiting.order < admitted.order &&
           waiting.line.since <= admitted.line.since;
  }
  if (!exact_ || may_be_patient || !room_rules_.nobody_leaves_room()) return false;
  return tenants_[waiting.tenant].share + kMargin < shares_before_[admitted.tenant];
}

void LineRules::FindFirst(LiveClients clients, absl::Time now) {
  Client* first = nullptr;
  bool is_certain = exact_;
  for (Client* const client : clients) {
    if (!client->waits()) continue;
    if (client->line.first_since && now - *client->line.first_since >= WaitingLine::kPassingLimit)
      return;
    if (first == nullptr) {
      first = client;
      continue;
    }
    const double ahead = tenants_[first->tenant].share - tenants_[client->tenant].share;
    if (first->tenant != client->tenant && std::abs(ahead) < kMargin) is_certain = false;
    const bool is_before =
        first->tenant == client->tenant ? client->order < first->order : ahead > 0;
    if (is_before) first = client;
  }
  if (first == nullptr || first->line.first_since || !is_certain) return;
  // It was not because of the room for others that it was not let in, so others may pass it.
  if (!room_rules_.LeavesNone(*first)) return;
  if (has_one_tenant_ || !OthersMayBePatient(clients, *first, now)) first->line.first_since = now;
}

void LineRules::CheckIdle(LiveClients clients, const RequestNeeds& available, absl::Time now) {
  const auto waits_in_vain = [&](const Client* client) {
    return client != nullptr && client->waits() && admitted_.empty() &&
           !OthersMayBePatient(clients, *client, now);
  };
  verdict_.Require(!waits_in_vain(fitted_beside_room_) &&
                       !(room_rules_.nobody_leaves_room() && waits_in_vain(fitted_)),
                   "a request waits that fits");
  fitted_ = fitted_beside_room_ = nullptr;
  if (IsMoreThanLookedAt(clients)) return;
  for (const Client* const client : clients) {
    if (!client->waits()) continue;
    const RequestNeeds& asks = client->task->asks;
    if (IsWithin(asks, available)) fitted_ = client;
    const bool fits = IsWithin(asks + room_rules_.most_room(), available);
    if (fits && !MayBeBehindOthersHeldBack(clients, *client)) fitted_beside_room_ = client;
  }
}

// Those that run may turn out to need more before the next turn's admissions, so it counts what was
// available after this turn's: as much as then, when nothing was started since.
void LineRules::CheckIdleOfOptimistic(LiveClients clients, const RequestNeeds& available,
                                      absl::Time now) {
  bool some_started = false;
  for (Client* const client : clients) {
    if (!client->runs) continue;
    const size_t to_start = client->task->branches_to_start() + client->task->trunk_is_next();
    // Who is thrown out may be let in again in the same turn.
    const std::pair<uint32_t, size_t> state = {client->preemptions, to_start};
    some_started |= std::exchange(client->line.last_state, state) != state;
  }
  // One block for each sequence that runs, or some more, is left to them.
  const int64_t margin = max_sequences_ - available.sequences;
  if (some_started || !admitted_.empty() || !room_rules_.nobody_leaves_room() ||
      IsMoreThanLookedAt(clients)) {
    return;
  }
  for (const Client* const client : clients) {
    const bool fits =
        client->waits() && IsWithin(client->task->asks + RequestNeeds{.blocks = margin}, available);
    verdict_.Require(!fits || OthersMayBePatient(clients, *client, now),
                     "a request waits that fits");
  }
}

void LineRules::CheckFairness(LiveClients clients) {
  if (!is_crowd_) return;
  std::array<bool, 3> waits = {};
  for (const Client* const client : clients) waits[client->tenant] |= client->waits();
  for (size_t i = 0; i < tenants_.size(); ++i) tenants_[i].backlogged &= waits[i];
  const auto backlogged = std::count_if(tenants_.begin(), tenants_.end(),
                                        [](const Tenant& tenant) { return tenant.backlogged; });
  if (backlogged > 1) coverage_.fair_admissions += admitted_.size();
  for (const Tenant& a : tenants_) {
    for (const Tenant& b : tenants_) {
      verdict_.Require(!a.backlogged || !b.backlogged || a.served - b.served <= fairness_bound_,
                       "a tenant is served ", a.served, " tokens, another ", b.served);
    }
  }
}

void LineRules::AfterTurn(LiveClients clients, const Reservations& reservations, absl::Time now) {
  room_rules_.AfterTurn(AvailableOf(reservations));
  for (Client* const client : clients) {
    if (!client->line.left && client->reader->done()) Leave(*client, now);
  }
}

}  // namespace peerage
