#include "server/engine/hidden_states.h"

#include <algorithm>

namespace peerage {

bool HiddenStatesChoice::Has(uint32_t position) const { return Count(position, position + 1) > 0; }

uint64_t HiddenStatesChoice::Count(uint32_t first, uint32_t end) const {
  if (first >= end) return 0;
  const uint32_t before = std::clamp(all_before, first, end);
  const uint32_t from = std::clamp(all_from, before, end);
  // Between those two, every position is named.
  const auto named = std::lower_bound(positions.begin(), positions.end(), from) -
                     std::lower_bound(positions.begin(), positions.end(), before);
  return uint64_t{before - first} + static_cast<uint64_t>(named) + (end - from);
}

int32_t HiddenStatesChoice::First() const {
  if (!wanted()) return INT32_MAX;
  if (all_before > 0) return 0;
  const uint32_t named = positions.empty() ? UINT32_MAX : positions.front();
  return static_cast<int32_t>(std::min({named, all_from, uint32_t{INT32_MAX}}));
}

}  // namespace peerage
