#include "server/engine/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fake_model.h"
#include "tests/support/fake_tokenizer.h"
#include "tests/support/recording_sink.h"
#include "tests/support/reference_answers.h"

namespace peerage {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using Code = absl::StatusCode;

class RecordingObserver final : public EngineObserver {
 public:
  void OnStep(const StepEvent& event) override {
    absl::MutexLock lock(&mu_);
    steps_.push_back(event);
  }
  void OnRequestDone(const RequestEvent& event) override {
    absl::MutexLock lock(&mu_);
    requests_.push_back(event);
  }

  std::vector<StepEvent> steps() const {
    absl::MutexLock lock(&mu_);
    return steps_;
  }
  std::vector<RequestEvent> requests() const {
    absl::MutexLock lock(&mu_);
    return requests_;
  }

 private:
  mutable absl::Mutex mu_;
  std::vector<StepEvent> steps_ ABSL_GUARDED_BY(mu_);
  std::vector<RequestEvent> requests_ ABSL_GUARDED_BY(mu_);
};

class EngineTest : public ::testing::Test {
 protected:
  struct Call {
    RequestHandle handle = 0;
    std::shared_ptr<RecordingSink> sink = std::make_shared<RecordingSink>();
  };

  void Start(const EngineOptions& options = {}, const FakeModelOptions& model_options = {}) {
    auto model = std::make_unique<FakeModel>(model_options);
    model_ = model.get();
    engine_ = std::make_unique<Engine>(options, std::move(model), &tokenizer_, &clock_, &observer_);
  }

  template <typename Request>
  Call Submit(const Request& request) {
    Call call;
    const absl::StatusOr<RequestHandle> handle = engine_->Submit(request, call.sink);
    EXPECT_TRUE(handle.ok()) << handle.status();
    call.handle = handle.value_or(0);
    return call;
  }

  template <typename Request>
  absl::Status Refusal(const Request& request) {
    auto sink = std::make_shared<RecordingSink>();
    const absl::Status status = engine_->Submit(request, sink).status();
    EXPECT_FALSE(sink->done());
    return status;
  }

  void ExpectReference(const GenerateRequest& request, const RecordingSink& sink) {
    ASSERT_EQ(sink.WaitDone(), absl::OkStatus());
    RecordingSink::Record record = sink.record();
    ASSERT_EQ(record.candidates.size(), request.candidates);
    for (const auto& [index, candidate] : record.candidates) {
      const ReferenceCandidate expected = GenerateAlone(request, index, tokenizer_);
      EXPECT_EQ(candidate.tokens, expected.tokens);
      EXPECT_EQ(candidate.text, expected.text);
      EXPECT_TRUE(candidate.logprobs == expected.logprobs);
      ASSERT_TRUE(candidate.finish);
      EXPECT_EQ(candidate.finish->reason, expected.reason);
    }
  }

  void ExpectNothingHeld() {
    EXPECT_EQ(engine_->status().kv_blocks_free, engine_->status().kv_blocks_total);
    EXPECT_EQ(engine_->status().requests_running, 0);
    EXPECT_EQ(engine_->status().requests_waiting, 0);
    EXPECT_EQ(model_->num_open_slots(), 0);
  }

  FakeClock clock_;
  FakeTokenizer tokenizer_;
  RecordingObserver observer_;
  FakeModel* model_ = nullptr;
  std::unique_ptr<Engine> engine_;
};

GenerateRequest Generate(std::vector<TokenId> prompt, uint32_t max_tokens) {
  return {.prompt = std::move(prompt), .stopping = {.max_tokens = max_tokens}};
}

// Never ends by itself.
GenerateRequest Long() { return Generate({1, 2, 3}, 100); }

TEST_F(EngineTest, GeneratesWhatTheRequestAloneWouldGet) {
  Start();
  GenerateRequest request = Generate({1, 2, 3, 4, 5}, 20);
  request.stopping.stop = {"ab", "c"};
  request.alternatives = 2;

  const Call call = Submit(request);

  ExpectReference(request, *call.sink);
  ExpectNothingHeld();
}

TEST_F(EngineTest, ComputesThePromptOnceForAllCandidates) {
  Start();
  GenerateRequest request = Generate({1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, 4);
  request.candidates = 5;
  request.sampling.seed = 11;

  const Call call = Submit(request);

  ExpectReference(request, *call.sink);
  // Nine tokens together, then each candidate its own: the tenth and three generated ones.
  EXPECT_EQ(model_->num_computed_tokens(), 9 + 5 * 4);
  EXPECT_NE(call.sink->record().candidates[0].tokens, call.sink->record().candidates[1].tokens);
  ExpectNothingHeld();
}

TEST_F(EngineTest, ForksACandidateFromAPromptOfOneToken) {
  Start();
  GenerateRequest request = Generate({9}, 3);
  request.candidates = 3;

  ExpectReference(request, *Submit(request).sink);
}

TEST_F(EngineTest, ReportsPromptLogprobsWhateverTheChunks) {
  for (int32_t budget : {1, 3, 64}) {
    for (uint32_t candidates : {1, 2}) {
      Start({.max_batch_tokens = budget});
      GenerateRequest request = Generate({5, 4, 3, 2, 1, 6, 7}, 2);
      request.prompt_logprobs = true;
      request.candidates = candidates;

      const Call call = Submit(request);

      ExpectReference(request, *call.sink);
      EXPECT_TRUE(call.sink->record().prompt_logprobs == PromptLogprobsAlone(request));
    }
  }
}

TEST_F(EngineTest, ScoresContinuationsAfterOneContext) {
  for (int32_t budget : {1, 3, 64}) {
    Start({.max_batch_tokens = budget});
    const ScoreRequest request{.context = {1, 2, 3, 4, 5, 6},
                               .continuations = {{7}, {8, 9, 10}, {11, 12}, {7, 7, 7, 7, 7, 7}},
                               .alternatives = 3};

    const Call call = Submit(request);

    EXPECT_EQ(call.sink->WaitDone(), absl::OkStatus());
    RecordingSink::Record record = call.sink->record();
    const auto expected = ScoreAlone(request);
    for (size_t i = 0; i < expected.size(); ++i) EXPECT_TRUE(record.scores[i] == expected[i]);
    EXPECT_EQ(model_->num_computed_tokens(), 6 + 2 + 1 + 5);
    ExpectNothingHeld();
  }
}

TEST_F(EngineTest, ScoresWithoutAContext) {
  Start();
  const ScoreRequest request{.continuations = {{7, 8, 9}, {5}}};

  const Call call = Submit(request);

  EXPECT_EQ(call.sink->WaitDone(), absl::OkStatus());
  RecordingSink::Record record = call.sink->record();
  EXPECT_TRUE(record.scores[0] == ScoreAlone(request)[0]);
  EXPECT_TRUE(record.scores[1] == ScoreAlone(request)[1]);
  EXPECT_FALSE(record.scores[1][0].logprob);
}

TEST_F(EngineTest, AnswersWhatNeedsNoComputationWithoutAStep) {
  Start();

  const Call call = Submit(ScoreRequest{.continuations = {{5}, {6}}});

  EXPECT_EQ(call.sink->WaitDone(), absl::OkStatus());
  EXPECT_THAT(call.sink->record().scores, SizeIs(2));
  EXPECT_EQ(engine_->status().steps, 0u);
}

TEST_F(EngineTest, ScoresManyRequestsWithOneSequence) {
  Start({.max_sequences = 1},
        {.capacity = {.block_tokens = 4, .num_blocks = 6, .num_slots = 2, .max_step_tokens = 64}});
  const ScoreRequest request{.context = {1, 2, 3, 4, 5},
                             .continuations = std::vector<std::vector<TokenId>>(30, {6, 7, 8})};
  std::vector<Call> calls;
  for (int i = 0; i < 20; ++i) calls.push_back(Submit(request));

  for (const Call& call : calls) {
    EXPECT_EQ(call.sink->WaitDone(), absl::OkStatus());
    EXPECT_THAT(call.sink->record().scores, SizeIs(30));
  }
  ExpectNothingHeld();
}

TEST_F(EngineTest, BatchesRequestsThatRunTogether) {
  Start();
  model_->ShutGate();
  const GenerateRequest request = Generate({1, 2, 3}, 4);
  const Call first = Submit(request);
  model_->AwaitStep();
  const Call second = Submit(request);
  model_->LetStepThrough();
  model_->LetStepThrough();

  EXPECT_THAT(model_->last_chunks(), SizeIs(2));
  model_->OpenGate();
  ExpectReference(request, *first.sink);
  ExpectReference(request, *second.sink);
}

TEST_F(EngineTest, CancelsARunningRequestWithinOneStep) {
  Start();
  model_->ShutGate();
  const Call call = Submit(Long());
  model_->AwaitStep();

  engine_->Cancel(call.handle);
  model_->LetStepThrough();

  EXPECT_EQ(call.sink->WaitDone().code(), Code::kCancelled);
  EXPECT_THAT(call.sink->record().candidates[0].tokens, SizeIs(1));
  model_->OpenGate();
  ExpectNothingHeld();
  engine_->Cancel(call.handle);  // it is gone: nothing happens
}

TEST_F(EngineTest, CancelsAWaitingRequestBeforeItStarts) {
  Start({.max_sequences = 1});
  model_->ShutGate();
  const Call running = Submit(Long());
  model_->AwaitStep();
  const Call waiting = Submit(Long());

  engine_->Cancel(waiting.handle);
  model_->LetStepThrough();

  EXPECT_EQ(waiting.sink->WaitDone().code(), Code::kCancelled);
  EXPECT_FALSE(waiting.sink->record().started);
  EXPECT_FALSE(running.sink->done());
  model_->OpenGate();
}

TEST_F(EngineTest, ComputesNothingForARequestThatIsLate) {
  Start({.max_sequences = 1});
  model_->ShutGate();
  const Call running = Submit(Long());
  model_->AwaitStep();
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

TEST_F(EngineTest, EndsARunningRequestAtItsDeadline) {
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

TEST_F(EngineTest, RefusesWhatNeverFits) {
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

TEST_F(EngineTest, RefusesWhenTheQueueIsFull) {
  Start({.max_sequences = 1, .max_queued_requests = 1});
  model_->ShutGate();
  const Call running = Submit(Long());
  model_->AwaitStep();
  const Call waiting = Submit(Long());

  EXPECT_EQ(Refusal(Long()).code(), Code::kResourceExhausted);

  EXPECT_EQ(engine_->status().requests_running, 1);
  EXPECT_EQ(engine_->status().requests_waiting, 1);
  model_->OpenGate();
  ExpectReference(Long(), *running.sink);
  ExpectReference(Long(), *waiting.sink);
}

TEST_F(EngineTest, FailsAloneTheRequestWhoseChunkFails) {
  Start();
  model_->PoisonToken(31);
  model_->ShutGate();
  const GenerateRequest healthy = Generate({1, 2, 3}, 3);
  ASSERT_THAT(GenerateAlone(healthy, 0, tokenizer_).tokens, Not(Contains(31u)));
  const Call first = Submit(healthy);
  model_->AwaitStep();
  const Call poisoned = Submit(Generate({4, 31, 5}, 10));
  model_->OpenGate();

  EXPECT_EQ(poisoned.sink->WaitDone().code(), Code::kInternal);
  EXPECT_THAT(poisoned.sink->record().candidates, IsEmpty());
  ExpectReference(healthy, *first.sink);
  ExpectNothingHeld();
}

TEST_F(EngineTest, FailsTheRequestsOfAFailedStepAndGoesOn) {
  Start({.max_sequences = 1});
  model_->ShutGate();
  const Call failing = Submit(Long());
  model_->AwaitStep();
  const Call waiting = Submit(Generate({1, 2}, 3));
  model_->FailNextStep(absl::UnknownError("the device is gone"));
  model_->OpenGate();

  const absl::Status status = failing.sink->WaitDone();
  EXPECT_EQ(status.code(), Code::kInternal);
  EXPECT_THAT(std::string(status.message()), HasSubstr("the device is gone"));
  ExpectReference(Generate({1, 2}, 3), *waiting.sink);
  ExpectNothingHeld();
}

TEST_F(EngineTest, ParksTheRequestOfASlowReader) {
  Start();
  model_->ShutGate();
  const Call slow = Submit(Long());
  model_->AwaitStep();
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

TEST_F(EngineTest, WakesForAReaderThatHasRoomAgainWhenNothingElseRuns) {
  Start();
  model_->ShutGate();
  const Call slow = Submit(Long());
  model_->AwaitStep();
  slow.sink->set_has_room(false);
  model_->OpenGate();
  slow.sink->WaitTokens(1);

  slow.sink->set_has_room(true);
  engine_->Wake();

  ExpectReference(Long(), *slow.sink);
}

TEST_F(EngineTest, GivesUpOnAReaderThatStaysSlow) {
  Start({.slow_reader_timeout = absl::Seconds(5)});
  model_->ShutGate();
  const Call slow = Submit(Long());
  model_->AwaitStep();
  const Call other = Submit(Long());
  slow.sink->set_has_room(false);
  model_->LetStepThrough();
  model_->AwaitStep();  // parked since this step was scheduled
  clock_.Advance(absl::Seconds(5));
  model_->LetStepThrough();

  const absl::Status status = slow.sink->WaitDone();
  EXPECT_EQ(status, absl::ResourceExhaustedError("the reader is too slow"));
  model_->OpenGate();
  ExpectReference(Long(), *other.sink);
  ExpectNothingHeld();
}

TEST_F(EngineTest, DrainFinishesWhatRunsAndWhatWaits) {
  Start({.max_sequences = 1});
  model_->ShutGate();
  const Call running = Submit(Long());
  model_->AwaitStep();
  const Call waiting = Submit(Long());
  engine_->StopAdmission();
  EXPECT_TRUE(engine_->status().draining);
  const absl::Status refusal = Refusal(Long());
  EXPECT_EQ(refusal, absl::UnavailableError("the server is draining"));
  model_->OpenGate();

  engine_->Drain(absl::InfiniteFuture());

  EXPECT_TRUE(running.sink->done());
  EXPECT_TRUE(waiting.sink->done());
  ExpectReference(Long(), *running.sink);
  ExpectReference(Long(), *waiting.sink);
}

TEST_F(EngineTest, DrainCancelsWhatIsLeftAtItsDeadline) {
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

TEST_F(EngineTest, DestructionEndsEveryRequest) {
  Start({.max_sequences = 1});
  model_->ShutGate();
  const Call running = Submit(Long());
  model_->AwaitStep();
  const Call waiting = Submit(Long());
  std::thread destroyer([this] { engine_.reset(); });

  model_->OpenGate();
  destroyer.join();

  EXPECT_TRUE(running.sink->done());
  EXPECT_TRUE(waiting.sink->done());
}

TEST_F(EngineTest, TellsTheObserverWhatHappened) {
  Start();
  GenerateRequest request = Generate({1, 2, 3, 4, 5}, 3);
  request.scheduling.arrival = clock_.Now() - absl::Seconds(2);
  ASSERT_EQ(Submit(request).sink->WaitDone(), absl::OkStatus());
  ASSERT_EQ(
      Submit(ScoreRequest{.context = {1, 2}, .continuations = {{3}, {4, 5}}}).sink->WaitDone(),
      absl::OkStatus());
  ASSERT_EQ(Refusal(Generate({1}, 1000)).code(), Code::kOutOfRange);

  const std::vector<RequestEvent> requests = observer_.requests();
  ASSERT_THAT(requests, SizeIs(3));
  EXPECT_EQ(requests[0].kind, RequestKind::kGenerate);
  EXPECT_EQ(requests[0].code, Code::kOk);
  EXPECT_EQ(requests[0].prompt_tokens, 5u);
  EXPECT_EQ(requests[0].completion_tokens, 3u);
  EXPECT_EQ(requests[0].total, absl::Seconds(2));
  EXPECT_EQ(requests[0].queue, absl::Seconds(2));
  EXPECT_EQ(requests[0].time_to_first_token, absl::Seconds(2));
  EXPECT_EQ(requests[1].kind, RequestKind::kScore);
  EXPECT_EQ(requests[1].prompt_tokens, 2u);
  EXPECT_EQ(requests[1].completion_tokens, 3u);
  EXPECT_EQ(requests[2].code, Code::kOutOfRange);
  EXPECT_EQ(requests[2].prompt_tokens, 0u);

  const std::vector<StepEvent> steps = observer_.steps();
  ASSERT_THAT(steps, SizeIs(5));
  EXPECT_EQ(steps[0].prefill_tokens, 5);
  EXPECT_EQ(steps[0].requests_running, 1);
  EXPECT_EQ(steps[0].kv_blocks_total, 64);
  EXPECT_EQ(steps[0].kv_blocks_free, 62);
  EXPECT_EQ(steps[1].decode_tokens, 1);
  EXPECT_EQ(steps[2].decode_tokens, 1);
  EXPECT_EQ(steps[2].requests_running, 0);
  EXPECT_EQ(steps[3].prefill_tokens, 2);
  EXPECT_EQ(steps[4].prefill_tokens, 1);
}

TEST_F(EngineTest, ServesManyThreadsAtOnce) {
  Start({.max_batch_tokens = 5, .max_sequences = 3, .max_queued_requests = 1000});
  std::vector<std::thread> threads;
  for (TokenId t = 0; t < 4; ++t) {
    threads.emplace_back([this, t] {
      for (TokenId i = 0; i < 25; ++i) {
        const GenerateRequest request = Generate({t + 1, i + 1, 3}, 1 + i % 7);
        const Call call = Submit(request);
        if (i % 5 == 4) {
          engine_->Cancel(call.handle);
          call.sink->WaitDone().IgnoreError();
        } else {
          ExpectReference(request, *call.sink);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  ExpectNothingHeld();
}

}  // namespace
}  // namespace peerage
