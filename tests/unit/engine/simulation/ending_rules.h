#pragma once

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "tests/unit/engine/simulation/client.h"
#include "tests/unit/engine/simulation/ledger.h"
#include "tests/unit/engine/simulation/verdict.h"

namespace peerage {

// Requests end when they must, and for a reason that there was.
class EndingRules {
 public:
  EndingRules(const World& world, Verdict* verdict, Coverage* coverage)
      : world_(world), verdict_(*verdict), coverage_(*coverage) {}

  // At the door: what would be too much is refused, and nothing else is. `waiting` are those before
  // it.
  void CheckDoor(const Client& client, const absl::Status& status, LiveClients waiting,
                 bool stopped);
  // After a turn that began at `now`; sees whether the client has ended, `live` being all that had
  // not before. `stopped`: before it.
  void Check(Client& client, LiveClients live, absl::Time now, bool stopped, bool stops);

 private:
  bool WasSlowForLong(const Client& client, LiveClients live, absl::Time now) const;
  bool MayEndWith(absl::StatusCode code, const Client& client, LiveClients live, absl::Time now,
                  bool stops) const;

  const World& world_;
  Verdict& verdict_;
  Coverage& coverage_;
};

}  // namespace peerage
