#include "server/engine/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

namespace peerage {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;

SchedulerOptions Options(int32_t max_batch_tokens) {
  return {.max_batch_tokens = max_batch_tokens,
          .max_sequences = 8,
          .num_blocks = 1000,
          .block_tokens = 4,
          .slow_reader_timeout = absl::Seconds(5),
          .prefix_cache = false};
}

class SchedulerTest : public ::testing::Test {
 protected:
  static constexpr absl::Time kNow = absl::UnixEpoch();
  static constexpr int64_t kRoom = 200;  // tokens that a test may generate

  // A task of one sequence that decodes for ever.
  Task& Add(Scheduler& scheduler, int32_t prompt, const SchedulingParams& scheduling = {}) {
    prompts_.push_back(std::make_unique<std::vector<TokenId>>(prompt, 1));
    return AddWork(scheduler,
                   {.branches = {{.tokens = *prompts_.back(), .positions = prompt + kRoom}}},
                   scheduling);
  }

  Task& AddWork(Scheduler& scheduler, Work work, const SchedulingParams& scheduling = {}) {
    auto task = std::make_unique<Task>(++last_handle_, scheduling, std::move(work), 4);
    Task& added = *task;
    scheduler.Add(std::move(task), kNow);
    return added;
  }

  // Schedules and computes a step; (request, tokens) of each chunk. Whoever is not a trunk goes on.
  std::vector<std::pair<RequestHandle, int32_t>> Step(Scheduler& scheduler) {
    std::vector<std::pair<RequestHandle, int32_t>> chunks;
    for (const auto& [sequence, tokens] : scheduler.Schedule(kNow).chunks) {
      chunks.emplace_back(sequence->task->handle, tokens);
      sequence->computed += tokens;
      sequence->reached = std::max(sequence->reached, sequence->computed);
      if (sequence->pending() == 0 && !sequence->is_trunk) sequence->tokens.push_back(1);
    }
    scheduler.Settle(kNow);
    return chunks;
  }

  // What has ended, and with which code.
  static std::vector<std::pair<RequestHandle, absl::StatusCode>> Ended(Scheduler& scheduler) {
    std::vector<std::pair<RequestHandle, absl::StatusCode>> ended;
    for (const EndedTask& end : scheduler.TakeEnded()) {
      ended.emplace_back(end.task->handle, end.status.code());
    }
    return ended;
  }

  static void ExpectNothingHeld(const Scheduler& scheduler, int num_blocks = 1000) {
    EXPECT_EQ(scheduler.reservations().blocks().num_blocks(), num_blocks);
    EXPECT_EQ(scheduler.reservations().blocks().num_available(),
              scheduler.reservations().blocks().num_blocks());
    EXPECT_EQ(scheduler.reservations().num_available_sequences(), 8);
    EXPECT_THAT(scheduler.running(), IsEmpty());
    EXPECT_EQ(scheduler.waiting().requests, 0);
    EXPECT_EQ(scheduler.waiting().prompt_tokens, 0);
    EXPECT_EQ(scheduler.NextExpiry(), absl::InfiniteFuture());
  }

  std::vector<std::unique_ptr<std::vector<TokenId>>> prompts_;
  RequestHandle last_handle_ = 0;
};

TEST_F(SchedulerTest, CutsAPromptIntoChunksOfTheBudget) {
  Scheduler scheduler(Options(4));
  Add(scheduler, 10);

  EXPECT_THAT(Step(scheduler), ElementsAre(Pair(1, 4)));
  EXPECT_THAT(Step(scheduler), ElementsAre(Pair(1, 4)));
  EXPECT_THAT(Step(scheduler), ElementsAre(Pair(1, 2)));
  EXPECT_THAT(Step(scheduler), ElementsAre(Pair(1, 1)));
}

TEST_F(SchedulerTest, MixesDecodesWithPrefillInOneStep) {
  Scheduler scheduler(Options(8));
  Add(scheduler, 3);
  Step(scheduler);
  Add(scheduler, 20);
  Add(scheduler, 2);

  EXPECT_THAT(Step(scheduler), ElementsAre(Pair(1, 1), Pair(2, 5), Pair(3, 2)));
  EXPECT_THAT(Step(scheduler), ElementsAre(Pair(1, 1), Pair(3, 1), Pair(2, 6)));
  EXPECT_THAT(Step(scheduler), ElementsAre(Pair(1, 1), Pair(3, 1), Pair(2, 6)));
  EXPECT_THAT(Step(scheduler), ElementsAre(Pair(1, 1), Pair(3, 1), Pair(2, 3)));
}

TEST_F(SchedulerTest, PrefillsInTheOrderInWhichTheyAreDue) {
  Scheduler scheduler(Options(6));
  Add(scheduler, 4, {.priority = 1, .arrival = kNow});
  Add(scheduler, 4, {.arrival = kNow});
  Add(scheduler, 4, {.arrival = kNow});

  EXPECT_THAT(Step(scheduler), ElementsAre(Pair(2, 4), Pair(3, 2)));
}

TEST_F(SchedulerTest, ShortPromptsGoAlongWithLongOnesThatAreNoMoreUrgent) {
  Scheduler scheduler(Options(6));
  Add(scheduler, 40);
  Add(scheduler, 40);
  Add(scheduler, 2);
  Add(scheduler, 2, {.priority = 1, .arrival = kNow});

  EXPECT_THAT(Step(scheduler), ElementsAre(Pair(1, 4), Pair(3, 2)));
  EXPECT_THAT(Step(scheduler), ElementsAre(Pair(3, 1), Pair(1, 5)));
}

TEST_F(SchedulerTest, LetsDecodesTakeTurnsWhenTheyAreMoreThanTheBudget) {
  Scheduler scheduler(Options(2));
  for (int i = 0; i < 3; ++i) Add(scheduler, 1);
  for (int step = 0; step < 3; ++step) Step(scheduler);  // all three decode now

  std::vector<int> turns(4, 0);
  for (int step = 0; step < 9; ++step) {
    for (const auto& [handle, tokens] : Step(scheduler)) turns[handle] += tokens;
  }

  EXPECT_THAT(turns, ElementsAre(0, 6, 6, 6));
}

TEST_F(SchedulerTest, GivesPrefillAShareWhenDecodesFillEveryStep) {
  Scheduler scheduler(Options(4));
  for (int i = 0; i < 4; ++i) Add(scheduler, 1);
  Step(scheduler);
  Add(scheduler, 100);

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
  Add(scheduler, 1);
  Step(scheduler);
  Add(scheduler, 50);

  EXPECT_THAT(Step(scheduler), ElementsAre(Pair(1, 1)));
  EXPECT_THAT(Step(scheduler), ElementsAre(Pair(2, 1)));
  EXPECT_THAT(Step(scheduler), ElementsAre(Pair(1, 1)));
  EXPECT_THAT(Step(scheduler), ElementsAre(Pair(2, 1)));
}

TEST_F(SchedulerTest, PromisesAtAdmissionTakesLateAndGivesBackAtTheEnd) {
  Scheduler scheduler(Options(8));
  const Task& task = Add(scheduler, 10);

  Step(scheduler);
  EXPECT_EQ(task.needs.blocks, 53);  // of 4 tokens, for 210
  EXPECT_EQ(scheduler.reservations().blocks().num_available(), 1000 - 53);
  EXPECT_EQ(scheduler.reservations().blocks().num_free(), 1000 - 2) << "8 tokens are computed";
  EXPECT_EQ(scheduler.reservations().num_available_sequences(), 7);
  Step(scheduler);
  EXPECT_EQ(scheduler.reservations().blocks().num_free(), 1000 - 3);
  EXPECT_EQ(scheduler.reservations().blocks().num_available(), 1000 - 53);
  scheduler.Cancel(1, kNow);

  ExpectNothingHeld(scheduler);
  EXPECT_THAT(Ended(scheduler), ElementsAre(Pair(1, absl::StatusCode::kCancelled)));
  EXPECT_THAT(scheduler.TakeClosed(), ElementsAre(0));
  EXPECT_THAT(scheduler.TakeClosed(), IsEmpty());
}

TEST_F(SchedulerTest, LetsTheFirstWaitUntilThereIsWhatItNeeds) {
  SchedulerOptions options = Options(64);
  options.num_blocks = 110;  // two tasks
  Scheduler scheduler(options);
  Add(scheduler, 9);
  Add(scheduler, 9);
  Add(scheduler, 9).prompt_tokens = 9;

  EXPECT_THAT(Step(scheduler), ElementsAre(Pair(1, 9), Pair(2, 9)));
  EXPECT_EQ(scheduler.waiting().requests, 1);
  EXPECT_EQ(scheduler.front_lacks(), Lack::kBlocks);
  scheduler.Cancel(1, kNow);

  EXPECT_THAT(Step(scheduler), ElementsAre(Pair(2, 1), Pair(3, 9)));
  EXPECT_EQ(scheduler.waiting().requests, 0);
  EXPECT_EQ(scheduler.front_lacks(), Lack::kNothing);
}

TEST_F(SchedulerTest, LetsSmallOnesPassALargeOneForAWhile) {
  SchedulerOptions options = Options(64);
  options.num_blocks = 110;  // two tasks
  Scheduler scheduler(options);
  const absl::Time later = kNow + WaitingLine::kPassingLimit;
  Add(scheduler, 9);
  AddWork(scheduler, {.branches = {{.tokens = *prompts_[0], .positions = 400}}});
  Add(scheduler, 9);

  EXPECT_THAT(Step(scheduler), ElementsAre(Pair(1, 9), Pair(3, 9)));
  scheduler.Cancel(1, later);
  Add(scheduler, 9);
  scheduler.Schedule(later);
  EXPECT_EQ(scheduler.waiting().requests, 2);
  scheduler.Cancel(3, later);
  scheduler.Schedule(later);
  EXPECT_EQ(scheduler.running()[0]->handle, 2u);
}

TEST_F(SchedulerTest, ThroughputWorkTakesWhatOthersLeaveAndDoesNotStarve) {
  Scheduler scheduler(Options(8));
  prompts_.push_back(std::make_unique<std::vector<TokenId>>(100, 1));
  AddWork(scheduler,
          {.branches = {{.tokens = *prompts_[0], .positions = 100}}, .is_throughput = true});
  EXPECT_THAT(Step(scheduler), ElementsAre(Pair(1, 8)));
  Add(scheduler, 5);
  EXPECT_THAT(Step(scheduler), ElementsAre(Pair(2, 5), Pair(1, 3)));
  Add(scheduler, 100);

  EXPECT_THAT(Step(scheduler), ElementsAre(Pair(2, 1), Pair(3, 7)));
  EXPECT_THAT(Step(scheduler), ElementsAre(Pair(2, 1), Pair(3, 4), Pair(1, 3)));
  EXPECT_THAT(Step(scheduler), ElementsAre(Pair(2, 1), Pair(3, 7)));
}

TEST_F(SchedulerTest, ComputesNoMoreSequencesThanItMay) {
  Scheduler scheduler(Options(64));
  for (int i = 0; i < 9; ++i) Add(scheduler, 1);

  EXPECT_THAT(Step(scheduler), SizeIs(8));
  EXPECT_EQ(scheduler.front_lacks(), Lack::kSequences);
}

TEST_F(SchedulerTest, SkipsAParkedRequest) {
  Scheduler scheduler(Options(8));
  Task& task = Add(scheduler, 4);
  Add(scheduler, 4);
  scheduler.SetParked(task, true, kNow);

  EXPECT_THAT(Step(scheduler), ElementsAre(Pair(2, 4)));
  scheduler.SetParked(task, false, kNow);
  EXPECT_THAT(Step(scheduler), ElementsAre(Pair(2, 1), Pair(1, 4)));
}

TEST_F(SchedulerTest, EndsWhatIsLateOrWhoseReaderIsTooSlow) {
  Scheduler scheduler(Options(8));
  const auto in = [](int seconds) { return kNow + absl::Seconds(seconds); };
  Add(scheduler, 4, {.deadline = in(9)});
  Task& slow = Add(scheduler, 4);
  Add(scheduler, 40, {.queue_deadline = in(1)});  // starts in the first step, after which it may
  Add(scheduler, 41, {.queue_deadline = in(2)});  // behind that one's prompt
  Step(scheduler);
  Step(scheduler);
  EXPECT_EQ(scheduler.NextExpiry(), in(2)) << "the third has started";
  scheduler.SetParked(slow, true, kNow);
  scheduler.SetParked(slow, true, in(1));  // since the first time

  scheduler.Schedule(in(2) - absl::Nanoseconds(1));
  EXPECT_THAT(Ended(scheduler), IsEmpty());
  scheduler.Schedule(in(2));
  EXPECT_THAT(Ended(scheduler), ElementsAre(Pair(4, absl::StatusCode::kDeadlineExceeded)));

  EXPECT_EQ(scheduler.NextExpiry(), in(5));
  scheduler.Schedule(in(5));
  EXPECT_THAT(Ended(scheduler), ElementsAre(Pair(2, absl::StatusCode::kResourceExhausted)));

  EXPECT_EQ(scheduler.NextExpiry(), in(9));
  scheduler.Schedule(in(9));
  EXPECT_THAT(Ended(scheduler), ElementsAre(Pair(1, absl::StatusCode::kDeadlineExceeded)));
  EXPECT_EQ(scheduler.NextExpiry(), absl::InfiniteFuture());
}

TEST_F(SchedulerTest, WhoIsPutBackIsStillAsFarBehind) {
  SchedulerOptions options = Options(64);
  options.num_blocks = 60;
  options.admission = Admission::kOptimistic;
  Scheduler scheduler(options);
  const auto in = [](int seconds) { return kNow + absl::Seconds(seconds); };
  // One that ends at once has it expect as little of those that follow.
  Add(scheduler, 4);
  for (const auto& [sequence, tokens] : scheduler.Schedule(kNow).chunks) {
    sequence->computed += tokens;
  }
  scheduler.Settle(kNow);
  Add(scheduler, 4);
  prompts_.push_back(std::make_unique<std::vector<TokenId>>(100, 1));
  Task& slow =
      AddWork(scheduler, {.branches = {{.tokens = *prompts_.back(), .positions = 100 + 30}}});
  Step(scheduler);
  ASSERT_THAT(scheduler.running(), SizeIs(2));
  scheduler.SetParked(slow, true, kNow);
  while (slow.preemptions == 0) Step(scheduler);
  Ended(scheduler);
  EXPECT_EQ(scheduler.NextExpiry(), absl::InfiniteFuture()) << "nobody looks at its reader";

  scheduler.Cancel(last_handle_ - 1, kNow);
  EXPECT_THAT(Step(scheduler), IsEmpty()) << "it runs, and nobody has looked yet";
  EXPECT_EQ(scheduler.NextExpiry(), in(5));
  scheduler.SetParked(slow, true, in(4));
  scheduler.Schedule(in(5));
  EXPECT_THAT(Ended(scheduler),
              ElementsAre(Pair(last_handle_ - 1, absl::StatusCode::kCancelled),
                          Pair(last_handle_, absl::StatusCode::kResourceExhausted)));
}

// Tenant "many" holds all sequences, and nobody reads. While it is alone it has all its patience.
TEST_F(SchedulerTest, ReadersWithMoreThanTheirPartAreHurriedWhileOthersWait) {
  SchedulerOptions options = Options(64);
  options.max_sequences = 4;
  options.slow_reader_timeout = absl::Seconds(60);
  Scheduler scheduler(options);
  const auto in = [](double seconds) { return kNow + absl::Seconds(seconds); };
  std::vector<Task*> slow;
  for (int i = 0; i < 4; ++i) slow.push_back(&Add(scheduler, 4, {.tenant = "many"}));
  Add(scheduler, 4, {.tenant = "many"});  // its own wait in vain
  Step(scheduler);
  for (Task* task : slow) scheduler.SetParked(*task, true, kNow);
  scheduler.Schedule(in(20));
  EXPECT_EQ(scheduler.NextExpiry(), in(60));

  Add(scheduler, 4, {.tenant = "one"});
  scheduler.Schedule(in(30));
  EXPECT_EQ(scheduler.NextExpiry(), in(35));
  scheduler.Schedule(in(35) - absl::Nanoseconds(1));
  EXPECT_THAT(Ended(scheduler), IsEmpty());
  scheduler.Schedule(in(35));
  // As many as it takes until that one runs, and no more: the fifth of "many" was due before it.
  EXPECT_EQ(scheduler.waiting().requests, 0);
  EXPECT_THAT(Ended(scheduler), ElementsAre(Pair(4, absl::StatusCode::kResourceExhausted),
                                            Pair(3, absl::StatusCode::kResourceExhausted)));
  EXPECT_EQ(scheduler.NextExpiry(), in(60)) << "nobody waits any more";
}

// A token each half second keeps a task alive for ever, but not while others wait.
TEST_F(SchedulerTest, ReadersWhoTakeADropNowAndThenDoNotHoldUpOthers) {
  SchedulerOptions options = Options(64);
  options.max_sequences = 2;
  options.slow_reader_timeout = absl::Seconds(60);
  Scheduler scheduler(options);
  for (int i = 0; i < 2; ++i) Add(scheduler, 4, {.tenant = "many"});
  Step(scheduler);
  absl::Time now = kNow;
  const auto park = [&](bool parked) {
    for (const auto& task : scheduler.running()) {
      if (task->sharer == "many") scheduler.SetParked(*task, parked, now);
    }
  };
  // Everybody's reader takes a token.
  const auto take = [&] {
    park(true);
    now += absl::Milliseconds(500);
    scheduler.Schedule(now);
    park(false);
    for (const auto& [sequence, tokens] : scheduler.Schedule(now).chunks) {
      sequence->computed += tokens;
      sequence->reached = std::max(sequence->reached, sequence->computed);
      sequence->tokens.push_back(1);
    }
    scheduler.Settle(now);
  };
  for (int i = 0; i < 100; ++i) take();
  EXPECT_THAT(Ended(scheduler), IsEmpty());
  Add(scheduler, 4, {.tenant = "one"});
  for (int i = 0; i < 12; ++i) take();
  EXPECT_THAT(Ended(scheduler), ElementsAre(Pair(2, absl::StatusCode::kResourceExhausted)));
  EXPECT_THAT(scheduler.running(), SizeIs(2));
}

// Its reader makes room for a token each second, long before it would be given up for a pause.
TEST_F(SchedulerTest, EndsWhoseReaderTakesADropNowAndThen) {
  Scheduler scheduler(Options(8));
  Task& task = Add(scheduler, 4);
  Step(scheduler);
  absl::Time now = kNow;
  int tokens = 0;
  while (true) {
    scheduler.SetParked(task, true, now);
    now += absl::Seconds(1);
    scheduler.Schedule(now);
    if (!Ended(scheduler).empty()) break;
    scheduler.SetParked(task, false, now);
    Step(scheduler);
    ASSERT_LT(++tokens, 100);
  }
  // Of 5 s, each second takes half a second: the other half comes back with the token.
  EXPECT_EQ(tokens, 8);
}

TEST_F(SchedulerTest, EndsWhatWaitsAsWell) {
  Scheduler scheduler(Options(8));
  for (int i = 0; i < 10; ++i) Add(scheduler, 4, {.deadline = kNow + absl::Seconds(1)});
  Step(scheduler);
  ASSERT_EQ(scheduler.waiting().requests, 2);
  scheduler.Cancel(10, kNow);
  scheduler.Cancel(10, kNow);
  scheduler.Cancel(99, kNow);
  EXPECT_THAT(Ended(scheduler), ElementsAre(Pair(10, absl::StatusCode::kCancelled)));

  scheduler.EndAll(absl::UnavailableError("stopping"), kNow);

  EXPECT_THAT(Ended(scheduler), SizeIs(9));
  ExpectNothingHeld(scheduler);
}

TEST_F(SchedulerTest, EndsWhatHasNothingToCompute) {
  Scheduler scheduler(Options(8));
  AddWork(scheduler, Work());

  EXPECT_THAT(Step(scheduler), IsEmpty());

  EXPECT_THAT(Ended(scheduler), ElementsAre(Pair(1, absl::StatusCode::kOk)));
  ExpectNothingHeld(scheduler);
}

TEST_F(SchedulerTest, EndsAFailedTaskWithItsFirstFailure) {
  Scheduler scheduler(Options(8));
  Task& task = Add(scheduler, 4);
  Step(scheduler);
  task.Fail(absl::InternalError("NaN"));
  task.Fail(absl::UnknownError("later"));
  scheduler.Settle(kNow);

  EXPECT_THAT(Ended(scheduler), ElementsAre(Pair(1, absl::StatusCode::kInternal)));
  ExpectNothingHeld(scheduler);
}

// A trunk of 6 (blocks of 4) and three branches of 2 tokens each, one of them at a time.
class SchedulerBranchTest : public SchedulerTest {
 protected:
  Task& AddTree(Scheduler& scheduler, int32_t side_by_side = 1) {
    Work work{.trunk = trunk_, .side_by_side = side_by_side, .is_throughput = true};
    for (uint32_t i = 0; i < 3; ++i) {
      work.branches.push_back({.index = i, .tokens = branch_, .positions = 8});
    }
    return AddWork(scheduler, work);
  }

  // Computes a step, after which nobody goes on; the sequences' (index, tokens).
  static std::vector<std::pair<uint32_t, int32_t>> Compute(Scheduler& scheduler) {
    std::vector<std::pair<uint32_t, int32_t>> chunks;
    for (const auto& [sequence, tokens] : scheduler.Schedule(kNow).chunks) {
      chunks.emplace_back(sequence->index, tokens);
      sequence->computed += tokens;
      sequence->reached = std::max(sequence->reached, sequence->computed);
    }
    scheduler.Settle(kNow);
    return chunks;
  }

  const std::vector<TokenId> trunk_ = {1, 2, 3, 4, 5, 6};
  const std::vector<TokenId> branch_ = {7, 8};
};

TEST_F(SchedulerBranchTest, ShareFullBlocksCopyThePartialOneAndTheLastTakesItOver) {
  Scheduler scheduler(Options(64));
  Task& task = AddTree(scheduler, /*side_by_side=*/3);
  Compute(scheduler);
  ASSERT_NE(task.trunk, nullptr);
  const std::vector<BlockId> trunk = task.trunk->blocks;
  EXPECT_EQ(task.trunk->slot, -1) << "it is computed";

  const Batch& batch = scheduler.Schedule(kNow);

  ASSERT_THAT(batch.started, SizeIs(3));
  ASSERT_THAT(batch.copies, SizeIs(2));
  for (size_t i = 0; i < 2; ++i) {
    const Sequence& branch = *batch.started[i];
    EXPECT_EQ(branch.computed, 6);
    EXPECT_THAT(branch.blocks, ElementsAre(trunk[0], batch.copies[i].to));
    EXPECT_EQ(batch.copies[i].from, trunk[1]);
  }
  EXPECT_EQ(batch.started[2]->blocks, trunk);
  EXPECT_THAT(task.trunk->blocks, ElementsAre(trunk[0])) << "until the last of them is done";
  EXPECT_EQ(task.promised_blocks + task.promised_sequences, 0);
  EXPECT_EQ(scheduler.reservations().blocks().holders(trunk[0]), 4);
  EXPECT_EQ(scheduler.reservations().blocks().num_available(), 1000 - 4);
}

TEST_F(SchedulerBranchTest, RunOneByOneWhileARequestWaits) {
  SchedulerOptions options = Options(64);
  options.num_blocks = 60;
  Scheduler scheduler(options);
  AddTree(scheduler);
  Compute(scheduler);
  Add(scheduler, 50);  // cannot fit

  EXPECT_THAT(Compute(scheduler), ElementsAre(Pair(0, 2)));
  EXPECT_THAT(Compute(scheduler), ElementsAre(Pair(1, 2)));
  EXPECT_THAT(Compute(scheduler), ElementsAre(Pair(2, 2)));
  EXPECT_THAT(Ended(scheduler), ElementsAre(Pair(1, absl::StatusCode::kOk)));
}

TEST_F(SchedulerBranchTest, AreNoMoreThanAStepCanUse) {
  Scheduler scheduler(Options(3));
  AddTree(scheduler);
  Compute(scheduler);
  Compute(scheduler);

  EXPECT_THAT(Compute(scheduler), ElementsAre(Pair(0, 2), Pair(1, 1)));
}

// Whoever was admitted computes what it needs before anybody computes more.
TEST_F(SchedulerBranchTest, ExtraOnesComeAfterEverybodysPrompts) {
  Scheduler scheduler(Options(6));
  AddTree(scheduler);
  Compute(scheduler);
  scheduler.Schedule(kNow);  // all three start, and none is computed
  Add(scheduler, 5);

  const Batch& batch = scheduler.Schedule(kNow);

  ASSERT_THAT(batch.chunks, SizeIs(2));
  EXPECT_EQ(batch.chunks[0].sequence->task->handle, 2u);
  EXPECT_EQ(batch.chunks[0].tokens, 5);
  EXPECT_FALSE(batch.chunks[1].sequence->is_extra);
  EXPECT_EQ(batch.chunks[1].tokens, 1);
}

TEST_F(SchedulerBranchTest, ExtraOnesDoNotStarve) {
  Scheduler scheduler(Options(4));
  AddTree(scheduler);
  Compute(scheduler);
  Compute(scheduler);
  scheduler.Schedule(kNow);  // a promised one and an extra one start, and are not computed
  const std::vector<TokenId> longer(100, 7);
  AddWork(scheduler,
          {.branches = {{.index = 9, .tokens = longer, .positions = 100}}, .is_throughput = true});

  EXPECT_THAT(Compute(scheduler), ElementsAre(Pair(0, 2), Pair(9, 2)));
  EXPECT_THAT(Compute(scheduler), ElementsAre(Pair(1, 2), Pair(9, 2)));
}

TEST_F(SchedulerBranchTest, GiveBackAllThatWasPromisedAndTakenBeside) {
  Scheduler scheduler(Options(64));
  AddTree(scheduler);
  Compute(scheduler);
  scheduler.Schedule(kNow);  // two extra ones have started

  scheduler.Cancel(1, kNow);

  ExpectNothingHeld(scheduler);
  EXPECT_THAT(scheduler.TakeClosed(), SizeIs(4));  // the trunk's, and three
}

// A block that two requests share counts for both: one of them lets go of it, and has another one
// promised in its place.
TEST_F(SchedulerTest, KeepsThePromiseOfASharedTrunkUntilItsLastBranchEnds) {
  SchedulerOptions options = Options(8);
  options.num_blocks = 11;
  options.prefix_cache = true;
  Scheduler scheduler(options);
  std::vector<TokenId> first(24), second(24, 3), third(8, 5), prompt;
  for (TokenId i = 0; i < 24; ++i) first[i] = i;
  prompt.assign(first.begin(), first.begin() + 4);
  for (TokenId token : {20, 21}) prompt.push_back(token);
  const absl::Span<const TokenId> trunk = absl::MakeSpan(prompt).first(5);
  const absl::Span<const TokenId> last = absl::MakeSpan(prompt).subspan(5);
  // Two continuations one after the other: six blocks.
  Work score{.branches_are_scored = true, .is_throughput = true};
  score.branches = {{.index = 0, .tokens = first, .positions = 24},
                    {.index = 1, .tokens = second, .positions = 24}};
  // Two candidates behind the first block of the first continuation: five blocks.
  Work candidates{.trunk = trunk, .side_by_side = 2};
  candidates.branches = {{.index = 0, .tokens = last, .positions = 12},
                         {.index = 1, .tokens = last, .positions = 12}};
  AddWork(scheduler, score, {});
  const auto run = [&](auto goes_on) {
    for (const auto& [sequence, tokens] : scheduler.Schedule(kNow).chunks) {
      sequence->computed += tokens;
      sequence->reached = std::max(sequence->reached, sequence->computed);
      if (sequence->pending() == 0 && goes_on(*sequence)) sequence->tokens.push_back(1);
    }
    scheduler.Settle(kNow);
    const BlockPool& blocks = scheduler.reservations().blocks();
    EXPECT_GE(blocks.num_available(), 0);
    EXPECT_LE(blocks.num_available(), blocks.num_free());
  };
  const auto is_candidate = [](const Sequence& sequence) {
    return sequence.task->handle == 2 && !sequence.is_trunk;
  };
  run(is_candidate);
  Task& shared = AddWork(scheduler, candidates, {});
  run(is_candidate);
  EXPECT_EQ(shared.cached.tokens, 4);
  // The last candidate ends at once, and another request takes what that leaves. When the first
  // continuation ends, the second one is promised what it needs: the block that the other candidate
  // still holds does not count.
  size_t candidate_tokens = 0;
  for (int step = 0; step < 30; ++step) {
    run([&](const Sequence& sequence) {
      if (sequence.task->handle == 3) return sequence.tokens.size() < 12;
      if (!is_candidate(sequence) || sequence.index == 1) return false;
      candidate_tokens = sequence.tokens.size();
      return candidate_tokens < 6;
    });
    if (step == 0) AddWork(scheduler, {.branches = {{.tokens = third, .positions = 12}}}, {});
  }
  EXPECT_EQ(candidate_tokens, 6u);
  ExpectNothingHeld(scheduler, options.num_blocks);
}

}  // namespace
}  // namespace peerage
