#pragma once

#include "base/choice.h"

namespace peerage {

// What a request is promised when it starts: what it may need to its end, so that nothing that runs
// is ever thrown out; or what it is expected to need, so that more run at the same time, and who
// turns out to need more may have to throw out others.
enum class Admission { kReserve, kOptimistic };

inline constexpr Choice<Admission> kAdmissions[] = {{"reserve", Admission::kReserve},
                                                    {"optimistic", Admission::kOptimistic}};

}  // namespace peerage
