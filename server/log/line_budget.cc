#include "server/log/line_budget.h"

#include <utility>

namespace peerage {

bool LineBudget::Take(absl::string_view kind, absl::Time now) {
  absl::MutexLock lock(&mu_);
  auto found = seconds_.find(kind);
  if (found == seconds_.end()) found = seconds_.emplace(kind, Second()).first;
  Second& second = found->second;
  if (now >= second.end) {
    second.end = now + absl::Seconds(1);
    second.lines = 0;
  }
  if (second.lines < lines_per_second_) {
    ++second.lines;
    return true;
  }
  ++second.left_out;
  any_left_out_ = true;
  return false;
}

std::vector<LineBudget::LeftOut> LineBudget::TakeLeftOut(absl::Time now) {
  std::vector<LeftOut> told;
  if (!any_left_out_) return told;
  absl::MutexLock lock(&mu_);
  bool any_left = false;
  for (auto& [kind, second] : seconds_) {
    if (second.left_out == 0) continue;
    if (now >= second.end) {
      told.push_back({kind, std::exchange(second.left_out, 0)});
    } else {
      any_left = true;
    }
  }
  any_left_out_ = any_left;
  return told;
}

}  // namespace peerage
