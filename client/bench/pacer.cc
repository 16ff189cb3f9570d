#include "client/bench/pacer.h"

#include <algorithm>
#include <utility>

namespace peerage::client {

Pacer::Pacer(const Traffic& traffic, std::vector<absl::Duration> arrivals)
    : closed_loop_(traffic.closed_loop()),
      limited_(traffic.max_concurrency.has_value()),
      arrivals_(std::move(arrivals)) {
  for (uint32_t i = 0; i < traffic.max_concurrency.value_or(0); ++i) free_since_.emplace();
}

std::optional<DueCall> Pacer::TakeDue(absl::Duration now) {
  if (!retries_.empty() && retries_.top().at <= now) {
    const DueCall call = retries_.top().call;
    retries_.pop();
    ++running_;
    return call;
  }
  if (next_ == arrivals_.size() || arrivals_[next_] > now || !HasSlot()) return std::nullopt;
  DueCall call{.call = next_, .due = arrivals_[next_], .intended = arrivals_[next_]};
  if (limited_) {
    if (closed_loop_) call.intended = free_since_.front();
    free_since_.pop();
  }
  ++next_;
  ++running_;
  return call;
}

absl::Duration Pacer::NextDue() const {
  absl::Duration due = absl::InfiniteDuration();
  if (!retries_.empty()) due = retries_.top().at;
  if (next_ < arrivals_.size() && HasSlot()) due = std::min(due, arrivals_[next_]);
  return due;
}

void Pacer::End(absl::Duration now) {
  --running_;
  if (limited_) free_since_.push(now);
}

void Pacer::Retry(const DueCall& call, absl::Duration at) {
  --running_;
  retries_.push({at, call});
}

void Pacer::Stop() {
  next_ = arrivals_.size();
  retries_ = {};
}

}  // namespace peerage::client
