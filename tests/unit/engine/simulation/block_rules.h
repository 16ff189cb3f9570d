#pragma once

#include <cstdint>
#include <vector>

#include "server/engine/scheduler.h"
#include "tests/unit/engine/simulation/ledger.h"
#include "tests/unit/engine/simulation/verdict.h"
#include "tests/unit/engine/simulation/world.h"

namespace peerage {

// What always holds of KV blocks and slots: free and held ones are all there are; a block has as
// many holders as sequences name it, all of one salt; and to nobody is promised what somebody else
// has, or what there is not.
class BlockRules {
 public:
  BlockRules(const World& world, Verdict* verdict, Coverage* coverage);

  void Check(const Scheduler& scheduler);

 private:
  void Count(const Sequence& sequence);
  void CheckTask(const Task& task);

  const World& world_;
  Verdict& verdict_;
  Coverage& coverage_;
  std::vector<int32_t> holders_;    // [blocks]
  std::vector<const Task*> owner_;  // [blocks]
  int64_t held_ = 0;
  int64_t promised_ = 0;
  int64_t sequences_ = 0;  // that have a slot, or are promised
};

}  // namespace peerage
