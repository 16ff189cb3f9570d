// Needles in random crowds: whatever else an engine serves, and however, a request is told the same
// to the last bit. PEERAGE_NEEDLE_TRIALS says how many trials, PEERAGE_NEEDLE_SEED which one alone.
#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>

#include "tests/support/model_runner.h"
#include "tests/support/needle_trial.h"

namespace peerage {
namespace {

uint64_t Environment(const char* name, uint64_t otherwise) {
  const char* const value = std::getenv(name);
  return value == nullptr ? otherwise : std::strtoull(value, nullptr, 10);
}

TEST(NeedleTest, ARequestIsToldTheSameInAnyCrowd) {
  const bool one_alone = std::getenv("PEERAGE_NEEDLE_SEED") != nullptr;
  const uint64_t first = Environment("PEERAGE_NEEDLE_SEED", 1);
  const uint64_t trials = one_alone ? 1 : Environment("PEERAGE_NEEDLE_TRIALS", 400);
  StepTally tally;
  for (uint64_t seed = first; seed < first + trials; ++seed) {
    const std::optional<std::string> found = RunNeedleTrial(seed, &tally);
    EXPECT_FALSE(found) << *found << "\nPEERAGE_NEEDLE_SEED=" << seed << " runs it alone";
  }
  if (one_alone) return;
  // A quiet crowd would not show much.
  EXPECT_EQ(tally.most_sequences, 64);
  EXPECT_GT(tally.mixed_steps, 10 * trials);
  EXPECT_GT(tally.crowds[2], trials / 20);
  EXPECT_GT(tally.crowds[3], trials / 20);
  EXPECT_GT(tally.cached_tokens, trials);
  EXPECT_GT(tally.preemptions, 0u);
}

TEST(NeedleTest, ARequestToSmolLm2IsToldTheSameInAnyCrowd) {
  const NeedleModel smollm2 = StoredNeedleModel(kSmolLm2);
  for (uint64_t seed = 1; seed <= Environment("PEERAGE_NEEDLE_LARGE_TRIALS", 2); ++seed) {
    const std::optional<std::string> found = RunNeedleTrial(smollm2, seed);
    EXPECT_FALSE(found) << *found;
  }
}

}  // namespace
}  // namespace peerage
