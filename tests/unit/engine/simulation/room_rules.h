#pragma once

#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "server/engine/reservations.h"
#include "server/engine/tenant_room.h"
#include "tests/unit/engine/simulation/client.h"
#include "tests/unit/engine/simulation/ledger.h"
#include "tests/unit/engine/simulation/verdict.h"

namespace peerage {

// The room that tenants leave to others, counted anew from the tasks that run and what each asked:
//
//   room      what admits a tenant beyond its equal part leaves what others, which were served
//             less, lately held and do not hold now, up to their parts and a tenth of all.
//
// What was held is remembered for one to two kMemory, so there are tenants which are certainly
// remembered and those which may be: the rule counts on the former alone, and says of nobody that
// it had no room to leave unless that holds with the latter, too.
class RoomRules {
 public:
  static constexpr size_t kTenants = 3;
  using Shares = std::array<double, kTenants>;

  RoomRules(const World& world, Verdict* verdict, Coverage* coverage);

  // To be called in every turn, when it is known who runs. The tasks of `admitted` were, in this
  // turn. Shares are what tenants were served, before that and after it; null: they are not known.
  void AfterAdmission(LiveClients clients, absl::Span<const Client* const> admitted,
                      const RequestNeeds& available, const Shares* before, const Shares& after,
                      absl::Time now);
  // Nothing more is taken until the next turn's admissions.
  void AfterTurn(const RequestNeeds& available) { available_before_ = available; }

  // In this turn's admissions, nobody was held back so that room is left for others.
  bool nobody_leaves_room() const { return nobody_leaves_room_; }
  // In this turn's admissions, the one that waits was not.
  bool LeavesNone(const Client& waiting) const;
  // That one tenant may have to leave.
  const RequestNeeds& most_room() const { return most_room_; }

 private:
  struct Tenant {
    RequestNeeds holds;
    absl::Time held_until = absl::InfinitePast();      // something, for sure
    absl::Time may_hold_until = absl::InfinitePast();  // likewise, perhaps
    int tasks = 0;                                     // that run
    bool admitted = false;                             // in this turn
    // What it held, until at least then.
    std::vector<std::pair<absl::Time, RequestNeeds>> held;
  };

  void Count(LiveClients clients, absl::Span<const Client* const> admitted);
  void CheckRoom(LiveClients clients, absl::Span<const Client* const> admitted,
                 const RequestNeeds& available, const Shares& before, const Shares& after,
                 absl::Time now);
  RequestNeeds KeptFor(const Tenant& tenant, const RequestNeeds& part, absl::Time now) const;
  void Remember(absl::Time now);
  RequestNeeds EqualPart(int64_t tenants) const;
  bool IsFree(const Client& client, bool waits) const;

  const RequestNeeds capacity_;
  const RequestNeeds most_room_;
  const bool is_optimistic_;
  Verdict& verdict_;
  Coverage& coverage_;
  std::array<Tenant, kTenants> tenants_;
  std::array<RequestNeeds, kTenants> held_before_ = {};  // at the last turn's admissions
  int64_t most_remembered_ = 0;                          // tenants, perhaps
  RequestNeeds available_before_;                        // when the last turn ended
  RequestNeeds least_available_;                         // at any moment of this turn's admissions
  bool nobody_leaves_room_ = true;
};

}  // namespace peerage
