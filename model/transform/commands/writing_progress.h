#pragma once

#include "base/command_line/progress_bar.h"
#include "model/transform/progress.h"

namespace peerage::transform {

// Shows on the bar, which must outlive it, how far writing is, and ends it when a signal interrupts
// the program. Signals are watched from the first call on, which comes before anything is written:
// until then they end the program at once.
ProgressFunction ShowWriting(ProgressBar& bar);

}  // namespace peerage::transform
