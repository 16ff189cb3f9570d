#include "server/engine/step_costs.h"

#include <algorithm>

namespace peerage {
namespace {

// The weight of one step: prompts beside decodes are a small difference of noisy times.
constexpr double kDecodeNews = 1.0 / 4;
constexpr double kPrefillNews = 1.0 / 16;
constexpr int32_t kManyTokens = 32;  // of which a step has enough to tell what one costs

void Average(double seen, double news, double& average) {
  average = average == 0 ? seen : average + news * (seen - average);
}

}  // namespace

void StepCosts::Add(absl::Duration duration, int32_t decode_tokens, int32_t prefill_tokens) {
  const double seconds = absl::ToDoubleSeconds(duration);
  if (prefill_tokens == 0) {
    mixed_steps_ = 0;
    return Average(seconds, kDecodeNews, decode_seconds_);
  }
  mixed_steps_ = decode_tokens > 0 ? mixed_steps_ + 1 : 0;
  // What its decodes alone would have taken is known, or they are few beside so many tokens.
  const double decodes = decode_tokens > 0 ? decode_seconds_ : 0;
  if (prefill_tokens < kManyTokens && decodes == 0) return;
  Average(prefill_tokens, kPrefillNews, prefill_tokens_);
  Average(seconds - decodes, kPrefillNews, prefill_seconds_);
}

int32_t StepCosts::PrefillBesideDecodes(int32_t limit) const {
  if (decode_seconds_ == 0 || prefill_tokens_ == 0) return limit;
  const double more_seconds = (kMostSlowdown - 1) * decode_seconds_;
  if (more_seconds * prefill_tokens_ >= prefill_seconds_ * limit) return limit;
  return std::max(static_cast<int32_t>(more_seconds * prefill_tokens_ / prefill_seconds_), 1);
}

}  // namespace peerage
