#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "server/engine/deadline.h"
#include "server/engine/error_reason.h"
#include "tests/unit/engine/engine_fixture.h"

namespace peerage {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using Code = absl::StatusCode;

// How requests end otherwise than with an answer, and how the engine itself does.
using EngineEndingTest = EngineTest;

TEST_F(EngineEndingTest, CancelsARunningRequestWithinOneStep) {
  Start();
  const Call call = SubmitAndHold(Long());

  engine_->Cancel(call.handle);
  model_->LetStepThrough();

  EXPECT_EQ(call.sink->WaitDone().code(), Code::kCancelled);
  EXPECT_THAT(call.sink->record().candidates[0].tokens, SizeIs(1));
  model_->OpenGate();
  ExpectNothingHeld();
  engine_->Cancel(call.handle);  // it is gone: nothing happens
}

TEST_F(EngineEndingTest, CancelsAWaitingRequestBeforeItStarts) {
  Start({.max_sequences = 1});
  const Call running = SubmitAndHold(Long());
  const Call waiting = Submit(Long());

  engine_->Cancel(waiting.handle);
  model_->LetStepThrough();

  EXPECT_EQ(waiting.sink->WaitDone().code(), Code::kCancelled);
  EXPECT_FALSE(waiting.sink->record().started);
  EXPECT_FALSE(running.sink->done());
  model_->OpenGate();
}

TEST_F(EngineEndingTest, ComputesNothingForARequestThatIsLate) {
  Start({.max_sequences = 1});
  const Call running = SubmitAndHold(Long());
  GenerateRequest deadline = Long();
  deadline.scheduling.deadline = clock_.Now() + absl::Seconds(2);
  GenerateRequest queue_deadline = Long();
  queue_deadline.scheduling.queue_deadline = clock_.Now() + absl::Seconds(1);
  const Call first = Submit(deadline);
  const Call second = Submit(queue_deadline);

  clock_.Advance(absl::Seconds(2));
  model_->LetStepThrough();

  EXPECT_EQ(first.sink->WaitDone().code(), Code::kDeadlineExceeded);
  EXPECT_EQ(second.sink->WaitDone().code(), Code::kDeadlineExceeded);
  EXPECT_FALSE(first.sink->record().started);
  EXPECT_EQ(first.sink->record().timings.queue, absl::Seconds(2));
  EXPECT_EQ(Refusal(deadline).code(), Code::kDeadlineExceeded);
  EXPECT_EQ(Refusal(queue_deadline).code(), Code::kDeadlineExceeded);
  model_->OpenGate();
}

TEST_F(EngineEndingTest, EndsARunningRequestAtItsDeadline) {
  Start();
  model_->ShutGate();
  GenerateRequest request = Long();
  request.scheduling.deadline = clock_.Now() + absl::Seconds(1);
  request.scheduling.queue_deadline = clock_.Now() + absl::Milliseconds(1);
  const Call call = Submit(request);
  model_->LetStepThrough();
  model_->AwaitStep();
  clock_.Advance(absl::Seconds(1));
  model_->LetStepThrough();

  EXPECT_EQ(call.sink->WaitDone().code(), Code::kDeadlineExceeded);
  EXPECT_THAT(call.sink->record().candidates[0].tokens, SizeIs(2));
  model_->OpenGate();
  ExpectNothingHeld();
}

// What its client sees: gRPC cancels a call at its deadline, and says no more than that.
TEST_F(EngineEndingTest, ACancellationAtTheDeadlineIsTheDeadlines) {
  Start({.max_sequences = 1});
  GenerateRequest request = Long();
  request.scheduling.deadline = clock_.Now() + absl::Seconds(100);
  const Call running = SubmitAndHold(request);
  const Call waiting = Submit(request);
  clock_.Advance(absl::Seconds(99));

  engine_->Cancel(running.handle);
  engine_->Cancel(waiting.handle);
  model_->LetStepThrough();

  EXPECT_EQ(running.sink->WaitDone().code(), Code::kDeadlineExceeded);
  EXPECT_EQ(waiting.sink->WaitDone().code(), Code::kDeadlineExceeded);
  model_->OpenGate();
  for (const RequestEvent& event : observer_.requests()) {
    EXPECT_EQ(event.code, Code::kDeadlineExceeded);
  }
  ExpectNothingHeld();
}

TEST(CancelledAtTest, IsTheDeadlinesWhenNoMoreIsLeftThanWhatTheWayTakes) {
  const absl::Time arrival = absl::FromUnixSeconds(100);
  const auto code = [&](absl::Duration after, absl::Duration timeout) {
    return CancelledAt(arrival + after, arrival, arrival + timeout).code();
  };
  EXPECT_EQ(code(absl::Milliseconds(989), absl::Seconds(1)), Code::kDeadlineExceeded);
  EXPECT_EQ(code(absl::Milliseconds(949), absl::Seconds(1)), Code::kCancelled);
  EXPECT_EQ(code(absl::Milliseconds(950), absl::Seconds(1)), Code::kDeadlineExceeded);
  EXPECT_EQ(code(absl::Milliseconds(89), absl::Milliseconds(100)), Code::kCancelled);
  EXPECT_EQ(code(absl::Milliseconds(90), absl::Milliseconds(100)), Code::kDeadlineExceeded);
  EXPECT_EQ(code(absl::Seconds(98.9), absl::Seconds(100)), Code::kCancelled);
  EXPECT_EQ(code(absl::Seconds(99), absl::Seconds(100)), Code::kDeadlineExceeded);
  EXPECT_EQ(code(absl::Seconds(2), absl::Seconds(1)), Code::kDeadlineExceeded);
  EXPECT_EQ(code(absl::ZeroDuration(), absl::Seconds(1)), Code::kCancelled);
  EXPECT_EQ(code(absl::Hours(1000), absl::InfiniteDuration()), Code::kCancelled);
}

TEST_F(EngineEndingTest, RefusesWhatNeverFits) {
  Start({.max_sequences = 2});

  EXPECT_EQ(Refusal(Generate({1, 2, 3}, 254)).code(), Code::kOutOfRange);
  GenerateRequest candidates = Generate({1}, 1);
  candidates.candidates = 3;
  EXPECT_EQ(Refusal(candidates).code(), Code::kOutOfRange);
  EXPECT_EQ(Refusal(ScoreRequest{.context = std::vector<TokenId>(250, 1),
                                 .continuations = {std::vector<TokenId>(7, 1)}})
                .code(),
            Code::kOutOfRange);
  ExpectReference(Generate({1, 2, 3}, 253), *Submit(Generate({1, 2, 3}, 253)).sink);
}

TEST_F(EngineEndingTest, RefusesWhenTheQueueIsFull) {
  Start({.max_sequences = 1, .max_queued_requests = 1});
  const Call running = SubmitAndHold(Long());
  const Call waiting = Submit(Long());

  EXPECT_EQ(Refusal(Long()).code(), Code::kResourceExhausted);

  EXPECT_EQ(engine_->status().requests_running, 1);
  EXPECT_EQ(engine_->status().requests_waiting, 1);
  model_->OpenGate();
  ExpectReference(Long(), *running.sink);
  ExpectReference(Long(), *waiting.sink);
}

TEST_F(EngineEndingTest, ContinuationsAreAmongTheTokensThatWait) {
  Start({.max_sequences = 1, .max_queued_tokens = 100});
  const Call running = SubmitAndHold(Long());
  const ScoreRequest score{.context = {1}, .continuations = {std::vector<TokenId>(60, 1)}};
  const Call waiting = Submit(score);

  EXPECT_EQ(engine_->status().waiting_prompt_tokens, 61);
  EXPECT_EQ(Refusal(score).code(), Code::kResourceExhausted);
  model_->OpenGate();
  EXPECT_EQ(waiting.sink->WaitDone(), absl::OkStatus());
}

TEST_F(EngineEndingTest, FailsAloneTheRequestWhoseChunkFails) {
  Start();
  model_->PoisonToken(31);
  const GenerateRequest healthy = Generate({1, 2, 3}, 3);
  ASSERT_THAT(GenerateAlone(healthy, 0, tokenizer_).tokens, Not(Contains(31u)));
  const Call first = SubmitAndHold(healthy);
  const Call poisoned = Submit(Generate({4, 31, 5}, 10));
  model_->OpenGate();

  EXPECT_EQ(poisoned.sink->WaitDone().code(), Code::kInternal);
  EXPECT_THAT(poisoned.sink->record().candidates, IsEmpty());
  ExpectReference(healthy, *first.sink);
  ExpectNothingHeld();
}

TEST_F(EngineEndingTest, FailsTheRequestsOfAFailedStepAndGoesOn) {
  Start({.max_sequences = 1});
  const Call failing = SubmitAndHold(Long());
  const Call waiting = Submit(Generate({1, 2}, 3));
  const absl::Status secret = absl::UnknownError("cannot read /home/op/secret.gguf");
  model_->FailNextStep(secret);
  model_->OpenGate();

  EXPECT_EQ(failing.sink->WaitDone(), absl::InternalError("the model failed"));
  EXPECT_THAT(observer_.failures(), ElementsAre(secret));
  ExpectReference(Generate({1, 2}, 3), *waiting.sink);
  ExpectNothingHeld();
}

TEST_F(EngineEndingTest, FailsTheRequestsOfAStepThatThrowsAndGoesOn) {
  Start({.max_sequences = 1});
  const Call failing = SubmitAndHold(Long());
  const Call waiting = Submit(Generate({1, 2}, 3));
  model_->ThrowInNextStep();
  model_->OpenGate();

  EXPECT_EQ(failing.sink->WaitDone(), absl::InternalError("the model failed"));
  EXPECT_THAT(observer_.failures(), ElementsAre(absl::InternalError("std::bad_alloc")));
  ExpectReference(Generate({1, 2}, 3), *waiting.sink);
  ExpectNothingHeld();
}

TEST_F(EngineEndingTest, EndsEverythingWhenTheDeviceIsLost) {
  const absl::Status lost = absl::UnavailableError("the device is lost: launch failure");
  std::vector<absl::Status> told;
  Start({.max_sequences = 2, .on_lost = [&](const absl::Status& status) {
           told.push_back(status);
           EXPECT_EQ(engine_->status().lost, status);
         }});
  const Call running = SubmitAndHold(Long());
  const Call parked = Submit(Long());
  model_->LetStepThrough();  // both are admitted
  model_->LetStepThrough();
  parked.sink->set_has_room(false);
  model_->LetStepThrough();
  const Call waiting = Submit(Long());
  EXPECT_EQ(engine_->status().lost, absl::OkStatus());

  model_->FailNextStep(lost);
  model_->OpenGate();

  EXPECT_EQ(running.sink->WaitDone(), lost);
  EXPECT_EQ(parked.sink->WaitDone(), lost);
  EXPECT_EQ(waiting.sink->WaitDone(), lost);
  EXPECT_FALSE(waiting.sink->record().started);
  EXPECT_EQ(Refusal(Long()), lost);
  EXPECT_THAT(told, ElementsAre(lost));
  EXPECT_TRUE(engine_->status().draining);
  ExpectNothingHeld();
}

TEST_F(EngineEndingTest, AsksALostModelForNothingAndEndsAtOnce) {
  std::atomic<int> turns = 0;
  Start({.every_turn = [&](int, absl::Time) { ++turns; }});
  const Call running = SubmitAndHold(Long());
  model_->FailNextStep(absl::UnavailableError("gone"));
  model_->OpenGate();
  EXPECT_EQ(running.sink->WaitDone().code(), Code::kUnavailable);
  const int64_t steps = engine_->status().steps;
  const int turns_with_a_model = turns;

  // A task is run whatever else ends, and by a turn.
  absl::Notification ran;
  ASSERT_TRUE(engine_->RunOnWorkers([&](int, absl::Time) { ran.Notify(); }).ok());
  ran.WaitForNotification();
  engine_->Drain(absl::InfiniteFuture());

  EXPECT_EQ(turns, turns_with_a_model);
  EXPECT_EQ(engine_->status().steps, steps);
  EXPECT_EQ(Refusal(Long()).message(), "gone") << "and not that it drains";
}

TEST_F(EngineEndingTest, LosesItsDeviceWhileItDrains) {
  Start();
  const Call running = SubmitAndHold(Long());
  engine_->StopAdmission();
  model_->FailNextStep(absl::UnavailableError("gone"));
  model_->OpenGate();

  engine_->Drain(absl::InfiniteFuture());

  EXPECT_EQ(running.sink->WaitDone(), absl::UnavailableError("gone"));
  EXPECT_EQ(engine_->status().lost, absl::UnavailableError("gone"));
}

TEST_F(EngineEndingTest, ParksTheRequestOfASlowReader) {
  Start();
  const Call slow = SubmitAndHold(Long());
  const Call other = Submit(Long());
  slow.sink->set_has_room(false);
  model_->LetStepThrough();
  model_->LetStepThrough();
  EXPECT_THAT(model_->last_chunks(), SizeIs(1));
  EXPECT_THAT(slow.sink->record().candidates[0].tokens, SizeIs(1));

  slow.sink->set_has_room(true);
  engine_->Wake();
  model_->OpenGate();

  ExpectReference(Long(), *slow.sink);
  ExpectReference(Long(), *other.sink);
}

TEST_F(EngineEndingTest, WakesForAReaderThatHasRoomAgainWhenNothingElseRuns) {
  Start();
  const Call slow = SubmitAndHold(Long());
  slow.sink->set_has_room(false);
  model_->OpenGate();
  slow.sink->WaitTokens(1);

  slow.sink->set_has_room(true);
  engine_->Wake();

  ExpectReference(Long(), *slow.sink);
}

TEST_F(EngineEndingTest, GivesUpOnAReaderThatStaysSlow) {
  Start({.slow_reader_timeout = absl::Seconds(5)});
  const Call slow = SubmitAndHold(Long());
  const Call other = Submit(Long());
  slow.sink->set_has_room(false);
  model_->LetStepThrough();
  model_->AwaitStep();  // parked since this step was scheduled
  clock_.Advance(absl::Seconds(5));
  model_->LetStepThrough();

  const absl::Status status = slow.sink->WaitDone();
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_EQ(status.message(), "the reader is too slow");
  EXPECT_EQ(ErrorReasonOf(status), kSlowReader);
  model_->OpenGate();
  ExpectReference(Long(), *other.sink);
  ExpectNothingHeld();
}

TEST_F(EngineEndingTest, DrainFinishesWhatRunsAndWhatWaits) {
  Start({.max_sequences = 1});
  const Call running = SubmitAndHold(Long());
  const Call waiting = Submit(Long());
  engine_->StopAdmission();
  EXPECT_TRUE(engine_->status().draining);
  const absl::Status refusal = Refusal(Long());
  EXPECT_EQ(refusal, absl::UnavailableError("the server is draining"));
  model_->OpenGate();

  EXPECT_TRUE(engine_->Drain(absl::InfiniteFuture()));

  EXPECT_TRUE(running.sink->done());
  EXPECT_TRUE(waiting.sink->done());
  ExpectReference(Long(), *running.sink);
  ExpectReference(Long(), *waiting.sink);
}

TEST_F(EngineEndingTest, DrainCancelsWhatIsLeftAtItsDeadline) {
  FakeModelOptions model_options{.context_length = 1'000'000};
  model_options.capacity.num_blocks = 250'001;
  Start({.max_sequences = 1}, model_options);
  const GenerateRequest endless = Generate({1}, 900'000);
  const Call running = Submit(endless);
  running.sink->WaitTokens(1);
  const Call waiting = Submit(endless);
  const absl::Time deadline = clock_.Now() + absl::Seconds(30);
  std::thread first([&] { engine_->Drain(deadline); });
  std::thread second([&] { engine_->Drain(deadline); });

  clock_.Advance(absl::Seconds(30));
  engine_->Wake();
  first.join();
  second.join();

  EXPECT_EQ(running.sink->WaitDone().code(), Code::kUnavailable);
  EXPECT_EQ(waiting.sink->WaitDone().code(), Code::kUnavailable);
  EXPECT_FALSE(waiting.sink->record().started);
  ExpectNothingHeld();
}

TEST_F(EngineEndingTest, DrainDoesNotWaitForAStepThatHangs) {
  Start();
  const Call hanging = SubmitAndHold(Long());
  const absl::Time deadline = clock_.Now() + absl::Seconds(30);
  std::atomic<bool> drained = true;
  std::thread drain([&] { drained = engine_->Drain(deadline); });

  clock_.Advance(absl::Seconds(30) + Engine::kLastStep);
  engine_->Wake();
  drain.join();

  EXPECT_FALSE(drained);
  EXPECT_FALSE(hanging.sink->done());
  model_->OpenGate();
  EXPECT_EQ(hanging.sink->WaitDone().code(), Code::kUnavailable);
}

TEST_F(EngineEndingTest, DestructionEndsEveryRequest) {
  Start({.max_sequences = 1});
  const Call running = SubmitAndHold(Long());
  const Call waiting = Submit(Long());
  std::thread destroyer([this] { engine_.reset(); });

  model_->OpenGate();
  destroyer.join();

  EXPECT_TRUE(running.sink->done());
  EXPECT_TRUE(waiting.sink->done());
}

}  // namespace
}  // namespace peerage
