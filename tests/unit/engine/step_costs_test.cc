#include "server/engine/step_costs.h"

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "server/engine/scheduler.h"

namespace peerage {
namespace {

TEST(StepCostsTest, TakesManyTokensWhenItKnowsWhatDecodesTakeAlone) {
  StepCosts costs;
  EXPECT_EQ(costs.PrefillBesideDecodes(512), 512);
  costs.Add(absl::Milliseconds(50), 0, 16);
  EXPECT_EQ(costs.PrefillBesideDecodes(512), 0);
  costs.Add(absl::Milliseconds(10), 4, 0);
  EXPECT_EQ(costs.PrefillBesideDecodes(512), StepCosts::kManyTokens);
  EXPECT_EQ(costs.PrefillBesideDecodes(3), 3);
}

TEST(StepCostsTest, TakesWhatStepsEarned) {
  StepCosts costs;
  for (int i = 0; i < 10; ++i) costs.Add(absl::Milliseconds(10), 4, 0);  // 16 ms are saved, no more
  costs.Add(absl::Milliseconds(30), 4, 200);                             // 100 us a token

  EXPECT_NEAR(costs.PrefillBesideDecodes(512), 40, 1);
  EXPECT_EQ(costs.PrefillBesideDecodes(20), 20);
  costs.Add(absl::Milliseconds(10), 4, 0);
  EXPECT_NEAR(costs.PrefillBesideDecodes(512), 80, 1);
}

TEST(StepCostsTest, TakesAFewTokensNowAndThenWhateverTheyCost) {
  StepCosts costs;
  costs.Add(absl::Milliseconds(10), 1, 0);
  costs.Add(absl::Seconds(10), 1, 200);

  for (int i = 0; i < StepCosts::kMostAlone; ++i) {
    EXPECT_EQ(costs.PrefillBesideDecodes(512), 0);
    costs.Add(absl::Milliseconds(10), 1, 0);
  }
  EXPECT_EQ(costs.PrefillBesideDecodes(512), StepCosts::kFewTokens);
  EXPECT_EQ(costs.PrefillBesideDecodes(1), 1);
}

// Streams whose steps take 8 to 12 ms, beside prompts that always wait.
class PromptsBesideStreams {
 public:
  // Milliseconds that a chunk takes for itself, and each of its tokens.
  PromptsBesideStreams(double chunk_ms, double token_ms)
      : chunk_ms_(chunk_ms), token_ms_(token_ms) {
    for (int i = 0; i < 50; ++i) Step(0);
  }

  void Run(int steps) {
    tokens_ = 0;
    milliseconds_ = 0;
    for (int i = 0; i < steps; ++i) Step(costs_.PrefillBesideDecodes(512));
  }

  double tokens() const { return tokens_; }
  double milliseconds() const { return milliseconds_; }

 private:
  void Step(int32_t tokens) {
    const double ms = decode_ms_(random_) + (tokens > 0 ? chunk_ms_ + tokens * token_ms_ : 0);
    costs_.Add(absl::Milliseconds(ms), 4, tokens);
    tokens_ += tokens;
    milliseconds_ += ms;
  }

  const double chunk_ms_, token_ms_;
  StepCosts costs_;
  std::mt19937_64 random_{3};
  std::uniform_real_distribution<double> decode_ms_{8, 12};
  double tokens_ = 0, milliseconds_ = 0;
};

TEST(StepCostsTest, LearnsFromFewTokensInNoisySteps) {
  PromptsBesideStreams streams(/*chunk_ms=*/0, /*token_ms=*/1);
  streams.Run(1000);
  EXPECT_NEAR(streams.tokens(), 4 * 1000, 400);
  EXPECT_NEAR(streams.milliseconds(), 14 * 1000, 500);
}

// As behind a context of 4,000 tokens. Were a token taken in each step, the streams would take more
// than twice as long as alone.
TEST(StepCostsTest, KeepsTheAverageWhereAnyChunkCostsMuch) {
  PromptsBesideStreams streams(/*chunk_ms=*/10, /*token_ms=*/2);
  streams.Run(1000);
  EXPECT_LE(streams.milliseconds(), 14 * 1000 + 500);
  // Four tokens in each 18 ms that were earned, at 4 ms a step.
  EXPECT_GE(streams.tokens(), 1000 / 4.5 * 4 * 0.9);
}

// Streams with a budget of 512 tokens, and a device that tells what its steps take.
class StreamsTest : public ::testing::Test {
 protected:
  struct Taken {
    absl::Duration duration;
    int32_t decodes = 0, prefilled = 0;
  };

  Task& Add(int32_t prompt, bool is_throughput = false) {
    prompts_.push_back(std::make_unique<std::vector<TokenId>>(prompt, 1));
    auto task = std::make_unique<Task>(
        ++last_handle_, SchedulingParams(),
        Work{.branches = {{.tokens = *prompts_.back(), .positions = prompt + 1000}},
             .is_throughput = is_throughput},
        16);
    Task& added = *task;
    scheduler_.Add(std::move(task), absl::UnixEpoch());
    return added;
  }

  Taken Step() {
    Taken taken;
    for (const auto& [sequence, tokens] : scheduler_.Schedule(absl::UnixEpoch()).chunks) {
      (sequence->decodes() ? taken.decodes : taken.prefilled) += tokens;
      sequence->computed += tokens;
      if (sequence->pending() == 0) sequence->tokens.push_back(1);
    }
    taken.duration = step_takes_ + token_takes_ * (taken.decodes + taken.prefilled);
    scheduler_.AddCost(taken.duration, taken.decodes, taken.prefilled);
    scheduler_.Settle(absl::UnixEpoch());
    return taken;
  }

  // A device whose steps take a while for themselves and the same for each token.
  absl::Duration step_takes_ = absl::Milliseconds(10);
  absl::Duration token_takes_ = absl::Microseconds(100);
  Scheduler scheduler_{{.max_batch_tokens = 512,
                        .max_sequences = 16,
                        .num_blocks = 4000,
                        .block_tokens = 16,
                        .slow_reader_timeout = absl::Seconds(5)}};
  std::vector<std::unique_ptr<std::vector<TokenId>>> prompts_;
  RequestHandle last_handle_ = 0;
};

// Two long prompts, one that somebody waits for and one of a score, come to eight streams.
TEST_F(StreamsTest, LongPromptsMakeTheStepsOfStreamsLittleLongerOnAverage) {
  for (int i = 0; i < 8; ++i) Add(64);
  while (Step().prefilled > 0) continue;
  const absl::Duration alone = Step().duration;

  const Task& prompt = Add(3000);
  const Task& score = Add(3000, /*is_throughput=*/true);
  int steps = 0, without_prompts = 0;
  absl::Duration sum;
  while (prompt.sequences.empty() || prompt.sequences[0]->pending() > 1 ||
         score.sequences.empty() || score.sequences[0]->pending() > 1) {
    const Taken taken = Step();
    ASSERT_GE(taken.decodes, 8);
    // A stream that comes to the others makes their steps longer by itself.
    ASSERT_LE(taken.duration, 3 * alone + absl::Milliseconds(1)) << "in step " << steps;
    sum += taken.duration;
    without_prompts = taken.prefilled > 0 ? 0 : without_prompts + 1;
    ASSERT_LE(without_prompts, StepCosts::kMostAlone);
    ASSERT_LT(++steps, 500) << "the prompts do not go on";
  }
  // What was saved before they came is spent as well.
  EXPECT_LE(sum, StepCosts::kMostSlowdown * alone * (steps + StepCosts::kMostSaved) +
                     steps * absl::Milliseconds(0.2));
}

// The short prompts come behind two that take the whole budget of a dozen steps.
TEST_F(StreamsTest, ShortPromptsDoNotWaitForLongOnes) {
  for (int i = 0; i < 2; ++i) Add(3000);
  Step();
  const Task& first = Add(100);
  const Task& second = Add(100);
  EXPECT_EQ(Step().prefilled, 512);
  EXPECT_TRUE(first.sequences[0]->decodes());
  EXPECT_TRUE(second.sequences[0]->decodes());
}

// What many streams take was never seen without prompts: it is not to be taken for these prompts'
// cost, of which there would be one token a step for ever.
TEST_F(StreamsTest, PromptsGoOnBesideACrowdThatCameToOneStream) {
  step_takes_ = absl::Milliseconds(5);
  token_takes_ = absl::Milliseconds(1);
  Add(64);
  while (Step().prefilled > 0) continue;
  for (int i = 0; i < 50; ++i) Step();

  for (int i = 0; i < 14; ++i) Add(64);
  for (int i = 0; i < 2; ++i) Add(20'000);
  for (int i = 0; i < 600; ++i) Step();
  int prefilled = 0;
  constexpr int kSteps = 200;
  for (int i = 0; i < kSteps; ++i) prefilled += Step().prefilled;
  // A step of 15 streams takes 20 ms: two fifths of that again are for 8 tokens.
  EXPECT_GE(prefilled, kSteps * 8 * 0.75);
}

TEST_F(StreamsTest, WithoutStreamsALongPromptTakesTheWholeBudget) {
  Add(64);
  while (Step().prefilled > 0) continue;
  Step();
  scheduler_.Cancel(1, absl::UnixEpoch());

  Add(2000);
  EXPECT_EQ(Step().prefilled, 512);
}

}  // namespace
}  // namespace peerage
