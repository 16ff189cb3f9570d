#pragma once

#include <cstdint>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "model/language_model.h"
#include "server/engine/scheduler.h"
#include "tests/unit/engine/simulation/client.h"
#include "tests/unit/engine/simulation/ledger.h"
#include "tests/unit/engine/simulation/line_rules.h"
#include "tests/unit/engine/simulation/verdict.h"

namespace peerage {

// What holds of every step before it is computed: it takes what is next of sequences that run, no
// more than it may, of nobody who is late or whose reader is behind; and nobody starves: decodes
// take turns, prefill gets its share beside them, the first prompt in any case, and throughput work
// beside both.
class StepRules {
 public:
  StepRules(const World& world, Verdict* verdict, Coverage* coverage);

  // `clients` by handle - 1; `now` is the worker's turn's.
  void Check(const StepInput& input, const Scheduler& scheduler, absl::Span<Client> clients,
             absl::Time now);
  // A turn without a step.
  void Pause();
  // After the turn: the observer was told of the checked step.
  void CheckTold(const StepEvent& event);

  // Charges what the checked step decodes.
  void ChargeDecodes(const StepInput& input, absl::Span<const Client> clients, LineRules& line);
  // The checked step will fail, as a whole or in the chunks with kPoison.
  // As a whole, what was opened for it ends as well.
  void MarkFailing(const StepInput& input, bool as_a_whole, absl::Span<const SlotId> opened,
                   absl::Span<Client> clients) const;

 private:
  enum Work { kDecode, kPrefill, kThroughput };

  void Look(const Sequence& sequence);
  void CheckChunk(const Chunk& chunk, const Client& client, absl::Time now);
  void CheckTurns();
  static Work WorkOf(const Sequence& sequence);

  const World& world_;
  Verdict& verdict_;
  Coverage& coverage_;
  std::vector<const Sequence*> running_;  // [slots]
  std::vector<char> in_step_;             // [slots]
  std::vector<int> steps_without_;        // [slots], of decodes that could be in them
  StepEvent checked_;                     // as it is to be told
  int steps_without_prefill_ = 0;         // while there was some, of either kind
  int steps_without_throughput_ = 0;
};

}  // namespace peerage
