#pragma once

#include <cstdint>
#include <vector>

#include "model/language_model.h"
#include "server/engine/sequence.h"

namespace peerage {

struct ScheduledChunk {
  Sequence* sequence = nullptr;
  int32_t tokens = 0;  // the next ones, at least 1
};

// One step.
struct Batch {
  std::vector<Sequence*> started;  // whose slots are to be opened before the step
  std::vector<BlockCopy> copies;
  std::vector<ScheduledChunk> chunks;  // at most one of a sequence
};

}  // namespace peerage
