#include "server/engine/step_costs.h"

#include <algorithm>

namespace peerage {
namespace {

constexpr double kNews = 1.0 / 16;   // the weight of one step
constexpr int32_t kManyTokens = 32;  // of which a step has enough to tell what one costs

void Average(double seen, double& average) {
  average = average == 0 ? seen : average + kNews * (seen - average);
}

}  // namespace

void StepCosts::Add(absl::Duration duration, int32_t decode_tokens, int32_t prefill_tokens) {
  const double seconds = absl::ToDoubleSeconds(duration);
  if (prefill_tokens == 0) return Average(seconds, decode_seconds_);
  // What its decodes alone would have taken is known, or they are few beside so many tokens.
  const double decodes = decode_tokens > 0 ? decode_seconds_ : 0;
  if (prefill_tokens < kManyTokens && decodes == 0) return;
  Average(prefill_tokens, prefill_tokens_);
  Average(seconds - decodes, prefill_seconds_);
}

int32_t StepCosts::PrefillBesideDecodes(int32_t limit) const {
  if (decode_seconds_ == 0 || prefill_tokens_ == 0) return limit;
  const double more_seconds = (kMostSlowdown - 1) * decode_seconds_;
  if (more_seconds * prefill_tokens_ >= prefill_seconds_ * limit) return limit;
  return std::max(static_cast<int32_t>(more_seconds * prefill_tokens_ / prefill_seconds_), 1);
}

}  // namespace peerage
