#include "server/engine/health.h"

#include <string>

#include "absl/strings/str_cat.h"

namespace peerage {
namespace {

std::string InSeconds(absl::Duration duration) {
  return absl::FormatDuration(absl::Trunc(duration, absl::Seconds(1)));
}

}  // namespace

absl::Status CheckHealth(const EngineStatus& status, absl::Duration step_timeout, absl::Time now) {
  const std::string limit = absl::StrCat("--step-timeout=", absl::FormatDuration(step_timeout));
  const absl::Duration turn = now - status.last_turn, load = now - status.loads_since;
  if (turn > step_timeout) {
    return absl::UnavailableError(
        absl::StrCat("the engine has not ended a turn for ", InSeconds(turn), " (", limit, ")"));
  }
  if (load > kLoadTimeouts * step_timeout) {
    return absl::UnavailableError(absl::StrCat("a model has been loading for ", InSeconds(load),
                                               " (more than ", kLoadTimeouts, " times ", limit,
                                               ")"));
  }
  return absl::OkStatus();
}

}  // namespace peerage
