#include "model/transform/commands/writing_progress.h"

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "base/command_line/interruption.h"

namespace peerage::transform {

ProgressFunction ShowWriting(ProgressBar& bar) {
  return [&bar](const Progress& progress) {
    if (progress.bytes == 0) Interruption::Watch();
    if (Interruption::signal() != 0) {
      return absl::CancelledError("interrupted; what was written is removed");
    }
    bar.Show(progress.bytes, progress.total_bytes,
             absl::StrFormat("of %.1f MB", 1e-6 * progress.total_bytes));
    return absl::OkStatus();
  };
}

}  // namespace peerage::transform
