#include "server/door/descriptor_limit.h"

#include <sys/resource.h>

#include <algorithm>
#include <limits>

namespace peerage {

int64_t RaiseDescriptorLimit() {
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  const rlimit raised = {.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
  if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
  constexpr rlim_t kMost = std::numeric_limits<int32_t>::max();
  return static_cast<int64_t>(std::min(limit.rlim_cur, kMost));
}

int64_t OtherDescriptors(int64_t descriptors) { return std::min<int64_t>(500, descriptors / 2); }

int64_t ConnectionsFor(int64_t descriptors) {
  const int64_t left = descriptors - OtherDescriptors(descriptors);
  return std::max<int64_t>(left / kDescriptorsPerConnection, 1);
}

}  // namespace peerage
