#include "server/engine/delivery.h"

#include <utility>

namespace peerage {

void Delivery::Begin(const CachedPrefix& cached, absl::Time now) {
  timeline_.scheduled = now;
  DeliverStart(cached);
}

void Delivery::DeliverHidden(HiddenRecorder& hidden, bool is_first, uint32_t part) {
  if (!hidden.wanted()) return;
  const auto deliver = [this](HiddenStates states) {
    if (!states.positions.empty()) sink_->OnHiddenStates(std::move(states));
  };
  if (is_first) deliver(hidden.TakePrompt());
  deliver(hidden.TakePart(part));
}

void Delivery::MarkToken(absl::Time now) {
  if (!timeline_.first_token) {
    tokens_.first_token_seconds.push_back(absl::ToDoubleSeconds(now - timeline_.arrival));
  }
  timeline_.MarkToken(now);
}

TokenLogprob LogprobOf(const RowOutput& row, size_t i) {
  const TokenScore& score = row.tokens[i];
  return {.token = score.token,
          .logprob = score.logprob,
          .rank = score.rank,
          .alternatives = {row.alternatives.begin(), row.alternatives.end()}};
}

}  // namespace peerage
