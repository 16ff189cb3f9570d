#include "server/engine/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/engine/scoring.h"
#include "tests/support/recording_sink.h"

namespace peerage {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

// One sequence that decodes for ever.
class EndlessRequest final : public RunningRequest {
 public:
  EndlessRequest(RequestHandle handle, int32_t prompt, const SchedulingParams& scheduling)
      : RunningRequest(handle, std::make_shared<RecordingSink>(),
                       {.blocks = (prompt + 3) / 4, .slots = 1, .sequences = 1}),
        prompt_(prompt, 1),
        scheduling_(scheduling) {}

  std::string DescribePositions() const override { return ""; }
  const SchedulingParams& scheduling() const override { return scheduling_; }
  const SamplingParams& sampling() const override { return sampling_; }
  absl::Span<const TokenId> prompt() const override { return prompt_; }
  int64_t prompt_tokens() const override { return static_cast<int64_t>(prompt_.size()); }
  std::optional<SequencePlan> NextSequence() const override {
    if (!HasMoreSequences()) return std::nullopt;
    return SequencePlan{.positions = static_cast<int32_t>(prompt_.size())};
  }
  bool HasMoreSequences() const override { return !is_started_; }
  std::unique_ptr<Sequence> StartSequence() override {
    is_started_ = true;
    auto sequence = std::make_unique<Sequence>();
    sequence->tokens = prompt_;
    return sequence;
  }
  void AddRows(const Sequence&, int32_t, StepBuilder&) const override {}
  void Deliver(Sequence& sequence, const ChunkResult&, absl::Time) override {
    if (sequence.pending() > 0) return;
    sequence.tokens.push_back(1);
    sequence.decoding = true;
  }
  bool done() const override { return false; }
  RequestEvent Usage() const override { return {}; }

 private:
  const std::vector<TokenId> prompt_;
  const SchedulingParams scheduling_;
  const SamplingParams sampling_;
  bool is_started_ = false;
};

SchedulerOptions Options(int32_t max_batch_tokens) {
  return {.max_batch_tokens = max_batch_tokens,
          .max_sequences = 8,
          .num_slots = 16,
          .num_blocks = 100,
          .block_tokens = 4,
          .slow_reader_timeout = absl::Seconds(5)};
}

class SchedulerTest : public ::testing::Test {
 protected:
  static constexpr absl::Time kNow = absl::UnixEpoch();

  RunningRequest& Admit(Scheduler& scheduler, int32_t prompt,
                        const SchedulingParams& scheduling = {}) {
    return scheduler.Admit(std::make_unique<EndlessRequest>(++last_handle_, prompt, scheduling));
  }

  // Schedules and computes a step; (request, tokens) of each chunk.
  std::vector<std::pair<RequestHandle, int32_t>> Step(Scheduler& scheduler,
                                                      bool requests_wait = false) {
    std::vector<std::pair<RequestHandle, int32_t>> chunks;
    for (const auto& [sequence, tokens] : scheduler.Schedule(requests_wait).chunks) {
      chunks.emplace_back(sequence->request->handle(), tokens);
      sequence->computed += tokens;
      sequence->request->Deliver(*sequence, {}, kNow);
    }
    return chunks;
  }

  RequestHandle last_handle_ = 0;
};

TEST_F(SchedulerTest, CutsAPromptIntoChunksOfTheBudget) {
  Scheduler scheduler(Options(4));
  Admit(scheduler, 10);

  EXPECT_THAT(Step(scheduler), ElementsAre(Pair(1, 4)));
  EXPECT_THAT(Step(scheduler), ElementsAre(Pair(1, 4)));
  EXPECT_THAT(Step(scheduler), ElementsAre(Pair(1, 2)));
  EXPECT_THAT(Step(scheduler), ElementsAre(Pair(1, 1)));
}

TEST_F(SchedulerTest, MixesDecodesWithPrefillInOneStep) {
  Scheduler scheduler(Options(8));
  Admit(scheduler, 3);
  Step(scheduler);
  Admit(scheduler, 20);
  Admit(scheduler, 2);

  EXPECT_THAT(Step(scheduler), ElementsAre(Pair(1, 1), Pair(2, 7)));
  EXPECT_THAT(Step(scheduler), ElementsAre(Pair(1, 1), Pair(2, 7)));
  EXPECT_THAT(Step(scheduler), ElementsAre(Pair(1, 1), Pair(2, 6), Pair(3, 1)));
  EXPECT_THAT(Step(scheduler), ElementsAre(Pair(1, 1), Pair(2, 1), Pair(3, 1)));
}

TEST_F(SchedulerTest, PrefillsInOrderOfPriorityThenArrival) {
  Scheduler scheduler(Options(6));
  Admit(scheduler, 4, {.priority = 1});
  Admit(scheduler, 4);
  Admit(scheduler, 4);

  EXPECT_THAT(Step(scheduler), ElementsAre(Pair(2, 4), Pair(3, 2)));
}

TEST_F(SchedulerTest, LetsDecodesTakeTurnsWhenTheyAreMoreThanTheBudget) {
  Scheduler scheduler(Options(2));
  for (int i = 0; i < 3; ++i) Admit(scheduler, 1);
  for (int step = 0; step < 3; ++step) Step(scheduler);  // all three decode now

  std::vector<int> turns(4, 0);
  for (int step = 0; step < 9; ++step) {
    for (const auto& [handle, tokens] : Step(scheduler)) turns[handle] += tokens;
  }

  EXPECT_THAT(turns, ElementsAre(0, 6, 6, 6));
}

TEST_F(SchedulerTest, GivesPrefillAShareWhenDecodesFillEveryStep) {
  Scheduler scheduler(Options(4));
  for (int i = 0; i < 4; ++i) Admit(scheduler, 1);
  Step(scheduler);
  Admit(scheduler, 100);

  int prefill_tokens = 0;
  int decode_tokens = 0;
  for (int step = 0; step < 10; ++step) {
    for (const auto& [handle, tokens] : Step(scheduler)) {
      (handle == 5 ? prefill_tokens : decode_tokens) += tokens;
    }
  }

  EXPECT_EQ(prefill_tokens, 10);  // half of every second step
  EXPECT_EQ(decode_tokens, 30);
}

TEST_F(SchedulerTest, AlternatesWithABudgetOfOne) {
  Scheduler scheduler(Options(1));
  Admit(scheduler, 1);
  Step(scheduler);
  Admit(scheduler, 50);

  EXPECT_THAT(Step(scheduler), ElementsAre(Pair(1, 1)));
  EXPECT_THAT(Step(scheduler), ElementsAre(Pair(2, 1)));
  EXPECT_THAT(Step(scheduler), ElementsAre(Pair(1, 1)));
  EXPECT_THAT(Step(scheduler), ElementsAre(Pair(2, 1)));
}

TEST_F(SchedulerTest, ReservesAtAdmissionAndTakesBackAtRemoval) {
  Scheduler scheduler(Options(8));
  const RequestNeeds everything{.blocks = 100, .slots = 16, .sequences = 8};
  EXPECT_TRUE(scheduler.Fits(everything));
  EXPECT_FALSE(scheduler.Fits({.blocks = 101}));
  EXPECT_FALSE(scheduler.Fits({.slots = 17}));
  EXPECT_FALSE(scheduler.Fits({.sequences = 9}));

  RunningRequest& request = Admit(scheduler, 10);
  EXPECT_EQ(scheduler.num_free_blocks(), 97);
  EXPECT_FALSE(scheduler.Fits({.sequences = 8}));
  Step(scheduler);
  scheduler.Remove(request);

  EXPECT_TRUE(scheduler.Fits(everything));
  EXPECT_THAT(scheduler.running(), IsEmpty());
}

TEST_F(SchedulerTest, SkipsAParkedRequest) {
  Scheduler scheduler(Options(8));
  RunningRequest& request = Admit(scheduler, 4);
  Admit(scheduler, 4);
  auto& sink = static_cast<RecordingSink&>(request.sink());
  sink.set_has_room(false);
  request.UpdateParking(kNow);

  EXPECT_THAT(Step(scheduler), ElementsAre(Pair(2, 4)));
  sink.set_has_room(true);
  request.UpdateParking(kNow);
  EXPECT_THAT(Step(scheduler), ElementsAre(Pair(2, 1), Pair(1, 4)));
}

TEST_F(SchedulerTest, ExpiresWhatIsLateOrWhoseReaderIsTooSlow) {
  Scheduler scheduler(Options(8));
  const absl::Time soon = kNow + absl::Seconds(1);
  RunningRequest& late = Admit(scheduler, 4, {.deadline = kNow + absl::Seconds(9)});
  RunningRequest& queued = Admit(scheduler, 4, {.queue_deadline = soon});
  RunningRequest& slow = Admit(scheduler, 4);
  static_cast<RecordingSink&>(slow.sink()).set_has_room(false);
  slow.UpdateParking(kNow);
  const auto code = [&scheduler](const RunningRequest& request, int seconds) {
    return scheduler.CheckMayContinue(request, kNow + absl::Seconds(seconds)).code();
  };

  EXPECT_EQ(scheduler.NextExpiry(), soon);
  EXPECT_EQ(code(queued, 1), absl::StatusCode::kDeadlineExceeded);
  queued.Begin(kNow);
  EXPECT_EQ(code(queued, 1), absl::StatusCode::kOk);

  EXPECT_EQ(scheduler.NextExpiry(), kNow + absl::Seconds(5));
  EXPECT_EQ(code(slow, 4), absl::StatusCode::kOk);
  EXPECT_EQ(code(slow, 5), absl::StatusCode::kResourceExhausted);
  static_cast<RecordingSink&>(slow.sink()).set_has_room(true);
  slow.UpdateParking(kNow);

  EXPECT_EQ(scheduler.NextExpiry(), kNow + absl::Seconds(9));
  EXPECT_EQ(code(late, 8), absl::StatusCode::kOk);
  EXPECT_EQ(code(late, 9), absl::StatusCode::kDeadlineExceeded);
}

// Continuations of one ScoreRequest: a context of 6 (blocks of 4), three forks of 2 tokens each.
class SchedulerScoreTest : public SchedulerTest {
 protected:
  RunningRequest& AdmitScore(Scheduler& scheduler) {
    const ScoreRequest request{.context = {1, 2, 3, 4, 5, 6},
                               .continuations = {{7, 8, 9}, {7, 8, 9}, {7, 8, 9}}};
    return scheduler.Admit(std::make_unique<Scoring>(
        ++last_handle_, request, std::make_shared<RecordingSink>(), ModelFacts{.block_tokens = 4}));
  }

  // Computes the context; its results are of no interest here.
  void ComputeContext(Scheduler& scheduler) {
    for (const auto& [sequence, tokens] : scheduler.Schedule(false).chunks) {
      sequence->computed += tokens;
    }
  }
};

TEST_F(SchedulerScoreTest, SharesFullBlocksAndCopiesThePartialOne) {
  Scheduler scheduler(Options(64));
  const RunningRequest& request = AdmitScore(scheduler);
  ComputeContext(scheduler);
  const Sequence& context = *request.sequences[0];

  const Batch& batch = scheduler.Schedule(/*requests_wait=*/false);

  ASSERT_EQ(batch.started.size(), 3u);
  ASSERT_EQ(batch.copies.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    const Sequence& fork = *batch.started[i];
    EXPECT_EQ(fork.parent, &context);
    EXPECT_EQ(fork.computed, 6);
    EXPECT_THAT(fork.blocks, ElementsAre(context.blocks[0], batch.copies[i].to));
    EXPECT_EQ(batch.copies[i].from, context.blocks[1]);
  }
}

TEST_F(SchedulerScoreTest, TakesNothingExtraWhileARequestWaits) {
  Scheduler scheduler(Options(64));
  RunningRequest& request = AdmitScore(scheduler);
  ComputeContext(scheduler);

  EXPECT_EQ(scheduler.Schedule(/*requests_wait=*/true).started.size(), 1u);
  EXPECT_THAT(scheduler.Schedule(/*requests_wait=*/true).started, IsEmpty());
  scheduler.Finish(*request.sequences[1]);
  EXPECT_EQ(scheduler.Schedule(/*requests_wait=*/true).started.size(), 1u);
}

TEST_F(SchedulerScoreTest, TakesNoMoreExtraThanAStepCanUse) {
  Scheduler scheduler(Options(3));
  AdmitScore(scheduler);
  ComputeContext(scheduler);
  ComputeContext(scheduler);

  EXPECT_EQ(scheduler.Schedule(/*requests_wait=*/false).started.size(), 2u);
}

TEST_F(SchedulerScoreTest, GivesBackAllThatItReservedAndTookExtra) {
  Scheduler scheduler(Options(64));
  RunningRequest& request = AdmitScore(scheduler);
  ComputeContext(scheduler);
  scheduler.Schedule(/*requests_wait=*/false);
  scheduler.Finish(*request.sequences[2]);

  scheduler.Remove(request);

  EXPECT_TRUE(scheduler.Fits({.blocks = 100, .slots = 16, .sequences = 8}));
}

}  // namespace
}  // namespace peerage
