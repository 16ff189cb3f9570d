#include "server/engine/deadline.h"

#include <algorithm>

namespace peerage {
namespace {

constexpr double kRounding = 0.01;
constexpr absl::Duration kOnTheWay = absl::Milliseconds(50);

}  // namespace

absl::Status CancelledAt(absl::Time now, absl::Time arrival, absl::Time deadline) {
  const absl::Duration whole = deadline - arrival;
  const absl::Duration slack = std::max(kRounding * whole, std::min(kOnTheWay, 0.1 * whole));
  const bool known = deadline != absl::InfiniteFuture() && arrival != absl::InfinitePast();
  if (deadline <= now || (known && deadline - now <= slack)) {
    return absl::DeadlineExceededError("the client gave up at its deadline");
  }
  return absl::CancelledError("the request was cancelled");
}

}  // namespace peerage
