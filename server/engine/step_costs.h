#pragma once

#include <cstdint>
#include <optional>

#include "absl/time/time.h"

namespace peerage {

// What steps were seen to cost, and how many tokens of prompts may therefore join streams that
// decode. A budget of tokens alone cannot say that: a token of a prompt costs a hundredth of such a
// step on one machine and a tenth on the next. Nor can what a token costs on the average: behind a
// long context one token costs nearly what four do, since all of the context is read for either. So
// there is an account: each step of the streams earns prompts a part of its time, chunks of prompts
// are taken when what they should take was earned, and what they did take is paid. Streams take
// kMostSlowdown times as long as alone at the most, over some steps, however wrong a guess was.
//
// Threads: none; belongs to one scheduler.
class StepCosts {
 public:
  // Streams are to take half as long again at the most. A tenth of their time is left for what the
  // account takes for theirs: behind a chunk the caches hold its data, and their own steps are
  // slower.
  static constexpr double kMostSlowdown = 1.4;
  static constexpr int kMostSaved = 5;        // steps whose part may be spent at once: one of three
                                              // times the length
  static constexpr int kMostAlone = 7;        // steps without prompts, one after the other
  static constexpr int kMostMixedSteps = 16;  // with them
  static constexpr int32_t kFewTokens = 4;    // that cost hardly more than one
  static constexpr int32_t kManyTokens = 32;  // of which a step has enough to tell what one costs

  // A step of so many tokens took `duration`.
  void Add(absl::Duration duration, int32_t decode_tokens, int32_t prefill_tokens);

  // How many of `waiting` tokens of prompts may join streams in the next step; none until there is
  // something saved for them, and now and then, so that one sees what decodes alone take by now.
  // All of them while nothing at all is known.
  // Precondition: waiting > 0.
  int32_t PrefillBesideDecodes(int32_t waiting) const;

 private:
  // Of the tokens of prompts in a step, and of what it took longer than decodes alone would have:
  // averages, which alone are divided by each other. Beside decodes a few tokens are lost in the
  // noise of one step.
  struct Prefill {
    double tokens = 0;
    double seconds = 0;
  };

  double Part() const { return (kMostSlowdown - 1) * decode_seconds_.value_or(0); }

  bool saw_any_ = false;
  // Of late, where there was any.
  std::optional<double> decode_seconds_;  // of steps that decode alone, an average
  std::optional<Prefill> prefill_;        // of others
  double saved_seconds_ = 0;              // negative: owed
  int alone_steps_ = 0;                   // since the last one with prompts
  int mixed_steps_ = 0;                   // since the last one without
};

}  // namespace peerage
