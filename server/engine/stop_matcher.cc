#include "server/engine/stop_matcher.h"

#include <algorithm>
#include <utility>

namespace peerage {

StopMatcher::StopMatcher(const std::vector<std::string>& stops) {
  for (const std::string& stop : stops) {
    Pattern pattern{.stop = stop, .border = {0, 0}};
    for (size_t n = 1; n < stop.size(); ++n) {
      pattern.Advance(stop[n]);
      pattern.border.push_back(pattern.matched);
    }
    pattern.matched = 0;
    patterns_.push_back(std::move(pattern));
  }
}

void StopMatcher::Pattern::Advance(char byte) {
  while (matched > 0 && stop[matched] != byte) matched = border[matched];
  if (stop[matched] == byte) ++matched;
}

StopMatcher::Result StopMatcher::Append(absl::string_view text) {
  size_t longest_prefix = 0;
  for (char byte : text) {
    held_ += byte;
    longest_prefix = 0;
    std::optional<int> match;
    for (size_t i = 0; i < patterns_.size(); ++i) {
      Pattern& pattern = patterns_[i];
      pattern.Advance(byte);
      const size_t matched = pattern.matched;
      if (matched == pattern.stop.size() && (!match || matched > patterns_[*match].stop.size())) {
        match = static_cast<int>(i);
      }
      longest_prefix = std::max(longest_prefix, matched);
    }
    if (match) {
      held_.resize(held_.size() - patterns_[*match].stop.size());
      return {.text = Flush(), .stop = match};
    }
  }
  if (text.empty()) return {};
  const size_t certain = held_.size() - longest_prefix;
  Result result{.text = held_.substr(0, certain)};
  held_.erase(0, certain);
  return result;
}

std::string StopMatcher::Flush() { return std::exchange(held_, {}); }

}  // namespace peerage
