#pragma once

#include <vector>

#include "absl/time/time.h"
#include "server/engine/scheduler.h"
#include "tests/unit/engine/simulation/client.h"
#include "tests/unit/engine/simulation/ledger.h"
#include "tests/unit/engine/simulation/line_rules.h"
#include "tests/unit/engine/simulation/verdict.h"
#include "tests/unit/engine/simulation/world.h"

namespace peerage {

// The line of one worker among several, from its model's first turn to its last one: who is in it,
// and that LineRules hold there. Whoever comes here, from the door or from another worker, stands
// in line anew: with its own due time, and behind nobody for what happened elsewhere.
class WorkerLine {
 public:
  WorkerLine(const World& world, Verdict* verdict, Coverage* coverage)
      : coverage_(*coverage), rules_(world, verdict, coverage) {}

  // To be called in every turn of the worker, when it is known who runs. `clients` are those of all
  // workers; who has ended since the turn of any worker before has ended here.
  void AfterAdmission(LiveClients clients, const Scheduler& scheduler, absl::Time now);
  // The turn ends.
  void AfterTurn(const Scheduler& scheduler, absl::Time now);

  LineRules& rules() { return rules_; }

 private:
  Coverage& coverage_;
  LineRules rules_;
  std::vector<Client*> members_;
};

}  // namespace peerage
