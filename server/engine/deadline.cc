#include "server/engine/deadline.h"

namespace peerage {
namespace {

constexpr double kRounding = 0.01;

}  // namespace

absl::Status CancelledAt(absl::Time now, absl::Time arrival, absl::Time deadline) {
  const bool has_deadline = deadline != absl::InfiniteFuture();
  if (has_deadline && deadline - now <= kRounding * (deadline - arrival)) {
    return absl::DeadlineExceededError("the client gave up at its deadline");
  }
  return absl::CancelledError("the request was cancelled");
}

}  // namespace peerage
