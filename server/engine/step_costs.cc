#include "server/engine/step_costs.h"

#include <algorithm>

namespace peerage {
namespace {

// The weight of one step: prompts beside decodes are a small difference of noisy times.
constexpr double kDecodeNews = 1.0 / 4;
constexpr double kPrefillNews = 1.0 / 16;

double Average(double average, double seen, double news) {
  return average + news * (seen - average);
}

}  // namespace

void StepCosts::Add(absl::Duration duration, int32_t decode_tokens, int32_t prefill_tokens) {
  const double seconds = absl::ToDoubleSeconds(duration);
  const bool is_mixed = decode_tokens > 0 && prefill_tokens > 0;
  alone_steps_ = prefill_tokens == 0 ? alone_steps_ + 1 : 0;
  mixed_steps_ = is_mixed ? mixed_steps_ + 1 : 0;
  saw_any_ = true;
  if (prefill_tokens == 0) {
    decode_seconds_ = Average(decode_seconds_.value_or(seconds), seconds, kDecodeNews);
  }
  const double decodes = is_mixed ? decode_seconds_.value_or(0) : 0;
  if (decode_tokens > 0) {
    const double spent = is_mixed ? seconds - decodes : 0;
    const double most = (kMostSaved - 1) * Part();  // the next step earns its own
    saved_seconds_ = std::clamp(saved_seconds_ + Part() - spent, -most, most);
  }
  if (prefill_tokens == 0) return;
  // What its decodes alone would have taken is known, or they are few beside so many tokens.
  if (prefill_tokens < kManyTokens && !(is_mixed && decode_seconds_)) return;
  const Prefill seen = {.tokens = static_cast<double>(prefill_tokens),
                        .seconds = seconds - decodes};
  const Prefill before = prefill_.value_or(seen);
  prefill_ = {.tokens = Average(before.tokens, seen.tokens, kPrefillNews),
              .seconds = Average(before.seconds, seen.seconds, kPrefillNews)};
}

int32_t StepCosts::PrefillBesideDecodes(int32_t waiting) const {
  if (!saw_any_) return waiting;
  if (!decode_seconds_ || mixed_steps_ >= kMostMixedSteps) return 0;
  if (!prefill_) return std::min(waiting, kManyTokens);
  const int32_t few = std::min(waiting, kFewTokens);
  const double may_take = saved_seconds_ + Part();
  const double tokens = prefill_->seconds > 0 ? may_take * prefill_->tokens / prefill_->seconds
                                              : static_cast<double>(waiting);
  if (tokens >= few) return static_cast<int32_t>(std::min<double>(tokens, waiting));
  return alone_steps_ >= kMostAlone ? few : 0;
}

}  // namespace peerage
