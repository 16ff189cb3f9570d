#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "tests/support/crowd.h"
#include "tests/support/needle_models.h"

namespace peerage {

// One needle trial: the seed chooses a request (the needle) and a crowd of others. The
// needle is answered alone, by one thread in whole steps; then, in the crowd, on an engine of any
// shape, as it is, resumed in its middle, and as a Score of what it generated. What of its answers
// is not the same to the last bit, with all that it takes to see it again; nullopt when all is.
// `tally`, if there is one, adds the crowd's steps up.
std::optional<std::string> RunNeedleTrial(const NeedleModel& model, uint64_t seed,
                                          StepTally* tally = nullptr);
// With the model that the seed chooses.
std::optional<std::string> RunNeedleTrial(uint64_t seed, StepTally* tally = nullptr);

}  // namespace peerage
