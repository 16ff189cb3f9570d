#pragma once

#include <cstdint>

#include "absl/time/time.h"

namespace peerage {

// What steps were seen to cost, and how many tokens of prompts may therefore join streams that
// decode: as many as make their step kMostSlowdown times as long as without. A budget of tokens
// alone cannot say that: a token of a prompt costs a hundredth of such a step on one machine and a
// tenth on the next.
//
// Threads: none; belongs to one scheduler.
class StepCosts {
 public:
  static constexpr double kMostSlowdown = 1.5;
  static constexpr int kMostMixedSteps = 16;  // one after the other

  // A step of so many tokens took `duration`.
  void Add(absl::Duration duration, int32_t decode_tokens, int32_t prefill_tokens);

  // Whether the next step is to be without prompts, so that one sees what decodes alone take by
  // now: beside prompts that always wait, streams that come would seem to be the prompts' cost.
  bool WantsDecodesAlone() const { return mixed_steps_ >= kMostMixedSteps; }

  // Of at most `limit`: all of them while the costs are not known, and one in any case, so that
  // prompts go on.
  int32_t PrefillBesideDecodes(int32_t limit) const;

 private:
  // Averages of late; 0 is not known. Of steps that decode alone; of the tokens of prompts in
  // others, and of what these took longer than decodes alone would have. The latter are divided by
  // each other only as averages: beside decodes a few tokens are lost in the noise of one step.
  double decode_seconds_ = 0;
  double prefill_tokens_ = 0;
  double prefill_seconds_ = 0;
  int mixed_steps_ = 0;  // since the last step that decoded alone
};

}  // namespace peerage
