#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "server/engine/reservations.h"
#include "server/engine/waiting_line.h"
#include "tests/unit/engine/simulation/client.h"
#include "tests/unit/engine/simulation/ledger.h"
#include "tests/unit/engine/simulation/room_rules.h"
#include "tests/unit/engine/simulation/verdict.h"

namespace peerage {

// What everybody who waits may rely on, whatever the line's own bookkeeping says:
//
//   order     nobody passes a task that is before it and needs no more: of its tenant, one that is
//             due and came sooner; of another, one of a tenant for which less was computed;
//   bypass    whoever came after a task was first in line waits until that has started, once it has
//             been first for kPassingLimit;
//   fairness  tenants that need equally much and always have waiting tasks, which came at once, are
//             served alike: one is ahead of another by at most one task, what its running ones can
//             still generate, and what they generated while that task was first in line and did not
//             fit (of those that move here later, several may have been first);
//   idleness  a task that fits does not wait.
//
// Where an outsider cannot tell who is next (shares as good as equal, somebody that may have been
// first for too long, or may have to leave room for another tenant: RoomRules), nothing is said.
class LineRules {
 public:
  LineRules(const World& world, Verdict* verdict, Coverage* coverage);

  // To be called in every turn, when it is known who runs and nothing more has happened.
  void AfterAdmission(LiveClients clients, const Reservations& reservations, absl::Time now);
  // A step computes tokens that were generated.
  void Charge(const Client& client, int64_t tokens);
  // The turn ends.
  void AfterTurn(LiveClients clients, const Reservations& reservations, absl::Time now);

 private:
  struct Tenant {
    double share = 0;    // as WaitingLine counts
    int64_t served = 0;  // tokens
    int64_t tasks = 0;
    absl::Time idle_since = absl::InfinitePast();
    bool backlogged = true;  // since the beginning, by what came then
  };

  void Join(Client& client, absl::Time now);
  void Leave(Client& client, absl::Time now);
  void ThrowOut(Client& client);
  void Serve(Tenant& tenant, int64_t tokens);
  void Admit(LiveClients clients, absl::Time now);
  void CheckPassed(const Client& admitted, LiveClients clients, absl::Time now);
  bool IsBefore(const Client& waiting, const Client& admitted, absl::Time now) const;
  void FindFirst(LiveClients clients, absl::Time now);
  void CheckIdle(LiveClients clients, const RequestNeeds& available, absl::Time now);
  void CheckIdleOfOptimistic(LiveClients clients, const RequestNeeds& available, absl::Time now);
  void CheckFairness(LiveClients clients);

  const bool is_crowd_;
  const bool is_optimistic_;
  const int64_t max_sequences_;
  Verdict& verdict_;
  Coverage& coverage_;
  RoomRules room_rules_;
  int64_t fairness_bound_ = 0;
  std::array<Tenant, RoomRules::kTenants> tenants_;
  RoomRules::Shares shares_before_ = {};  // this turn's admissions
  bool has_one_tenant_ = true;
  std::optional<absl::Time> began_;  // somebody came
  double fair_share_ = 0;
  int64_t num_active_ = 0;
  bool exact_ = true;                    // the shares are the line's
  std::vector<const Client*> admitted_;  // in this turn
  // They waited, and at the end of the last turn they would fit: the latter beside all room that
  // anybody may have to leave.
  const Client* fitted_ = nullptr;
  const Client* fitted_beside_room_ = nullptr;
};

}  // namespace peerage
