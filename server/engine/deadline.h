#pragma once

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace peerage {

// What a call that is cancelled at `now` has ended with, as its client sees it: DEADLINE_EXCEEDED
// at its deadline, else CANCELLED.
//
// A client that gives up at its deadline says on the wire only that it cancels, and its deadline
// comes a little later here than there: what was left of it travelled rounded up, by up to 1 %
// (gRPC's encoding of timeouts), and the request took its time on the way. So a call that is
// cancelled when no more than that is left has met its deadline: 1 %, or 50 ms of at least half a
// second, or a tenth of less.
absl::Status CancelledAt(absl::Time now, absl::Time arrival, absl::Time deadline);

}  // namespace peerage
