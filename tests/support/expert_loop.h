#pragma once

#include <vector>

#include "tests/support/memory_checkpoint.h"

namespace peerage {

// Log-probabilities of tokens[1..] by a forward pass in double that is as literal as
// docs/model_format.md: one expert after the other, one head after the other, no cache. For models
// of `dense` and `mixture` parts with silu.
std::vector<double> ExpertLoopLogprobs(const MemoryCheckpoint& checkpoint,
                                       const std::vector<TokenId>& tokens);

}  // namespace peerage
