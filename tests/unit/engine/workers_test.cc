#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>

#include <atomic>
#include <memory>
#include <new>
#include <optional>
#include <thread>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "server/engine/health.h"
#include "server/engine/replica.h"
#include "server/engine/retry_delay.h"
#include "tests/unit/engine/engine_fixture.h"

namespace peerage {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::Gt;
using ::testing::SizeIs;
using Code = absl::StatusCode;
using State = WorkerState;

// An engine with several workers, whose models tests control, and may be had anew.
class WorkersTest : public EngineTest {
 protected:
  // Steps of models at shut gates have to end before the engine does.
  ~WorkersTest() override {
    if (engine_ == nullptr) return;
    {
      absl::MutexLock lock(&rebuilding_);
      for (FakeModel* model : models_) {
        if (model != nullptr) model->OpenGate();
      }
    }
    engine_ = nullptr;  // while there is what a load that still runs looks at
  }

  void StartWorkers(int workers, EngineOptions options = {}) {
    has_watchdog_ = options.step_timeout != absl::InfiniteDuration();
    std::vector<std::unique_ptr<LanguageModel>> models;
    for (int i = 0; i < workers; ++i) models.push_back(NewModel(i));
    engine_ =
        std::make_unique<Engine>(options, std::move(models), &tokenizer_, &clock_, &observer_);
  }

  // With models that are replaced after a failure, unless the next ones fail to be.
  void StartRebuilt(int workers, EngineOptions options = {}) {
    options.rebuild = [this](int worker, std::unique_ptr<LanguageModel> failed,
                             absl::Time now) -> LoadModel {
      absl::MutexLock lock(&rebuilding_);
      rebuilt_at_.push_back(now);
      if (failed != nullptr) models_[worker] = nullptr;  // it ends here
      return [this, worker]() -> absl::StatusOr<std::unique_ptr<LanguageModel>> {
        if (worker == stuck_) load_goes_on_.WaitForNotification();
        if (!rebuild_status_.ok()) return rebuild_status_;
        return NewModel(worker);
      };
    };
    StartWorkers(workers, options);
  }

  std::unique_ptr<LanguageModel> NewModel(size_t worker) {
    auto model = std::make_unique<FakeModel>(
        FakeModelOptions{.expert_layers = {{.num_experts = 30, .heads = 2, .top_k = 2}},
                         .goes_with_it = goes_with_models_});
    absl::MutexLock lock(&rebuilding_);
    models_.resize(std::max(models_.size(), worker + 1));
    models_[worker] = model.get();
    return model;
  }

  // So much later, and everybody has heard of it. Time passes steadily: the watchdog, if there is
  // one, looks at each of its times.
  void Pass(absl::Duration duration) {
    while (duration > absl::ZeroDuration()) {
      const absl::Duration step = has_watchdog_ ? std::min(duration, absl::Seconds(1)) : duration;
      clock_.Advance(step);
      if (has_watchdog_) clock_.AwaitSleeper();
      duration -= step;
    }
    engine_->Wake();
  }

  // Time passes until so many things have happened to workers; all of them.
  std::vector<WorkerEvent> PassUntilEvents(size_t count, absl::Duration step) {
    while (observer_.AwaitWorkerEvents(0).size() < count) {
      Pass(step);
      std::this_thread::yield();
    }
    return observer_.AwaitWorkerEvents(count);
  }

  // Its step waits at the gate of the model of `worker`.
  Call Hold(int worker, const GenerateRequest& request = Long()) {
    models_[worker]->ShutGate();
    Call call = Submit(request);
    models_[worker]->AwaitStep();
    return call;
  }

  std::vector<State> States() const {
    std::vector<State> states;
    for (const WorkerStatus& worker : engine_->status().workers) states.push_back(worker.state);
    return states;
  }

  std::vector<FakeModel*> models_;
  std::shared_ptr<void> goes_with_models_;
  absl::Mutex rebuilding_;              // several workers may be at the same time
  std::vector<absl::Time> rebuilt_at_;  // to be read when nobody is
  absl::Status rebuild_status_;
  int stuck_ = -1;  // the worker whose next model is not loaded until the load goes on
  absl::Notification load_goes_on_;
  bool has_watchdog_ = false;
};

TEST_F(WorkersTest, AllAnswerAsOneAloneWould) {
  for (const int workers : {2, 3}) {
    StartWorkers(workers);
    std::vector<std::pair<GenerateRequest, Call>> calls;
    for (TokenId i = 0; i < 24; ++i) {
      GenerateRequest request = Generate({i, i + 1, 3, i % 5}, 5 + i);
      request.candidates = 1 + i % 3;
      request.sampling.seed = i;
      calls.emplace_back(request, Submit(request));
    }
    for (const auto& [request, call] : calls) ExpectReference(request, *call.sink);
    for (const FakeModel* model : models_) EXPECT_GT(model->num_computed_tokens(), 0);
    const EngineStatus status = engine_->status();
    EXPECT_THAT(status.workers, SizeIs(workers));
    EXPECT_TRUE(status.ready());
    EXPECT_EQ(status.kv_blocks_total, 64 * workers);
    EXPECT_EQ(status.kv_blocks_free, 64 * workers);
    uint64_t steps = 0;
    for (const WorkerStatus& worker : status.workers) steps += worker.steps;
    EXPECT_EQ(status.steps, steps);
    engine_.reset();
  }
}

TEST_F(WorkersTest, PromptsThatBeginAlikeAreComputedByOneWorker) {
  StartWorkers(2);
  for (int i = 0; i < 6; ++i) {
    ASSERT_EQ(Submit(Generate({7, 7, 7, 7, 8, static_cast<TokenId>(i)}, 2)).sink->WaitDone(),
              absl::OkStatus());
  }
  // The first block is computed once.
  EXPECT_EQ(models_[0]->num_computed_tokens(), 4 + 6 * 3);
  EXPECT_EQ(models_[1]->num_computed_tokens(), 0);
}

TEST_F(WorkersTest, CancelsOnWhicheverWorker) {
  StartWorkers(2, {.max_sequences = 1});
  std::vector<Call> calls = {Hold(0), Hold(1), Submit(Long()), Submit(Long())};
  for (const Call& call : calls) engine_->Cancel(call.handle);
  for (FakeModel* model : models_) model->OpenGate();
  for (const Call& call : calls) EXPECT_EQ(call.sink->WaitDone().code(), Code::kCancelled);
  EXPECT_EQ(engine_->status().kv_blocks_free, engine_->status().kv_blocks_total);
}

TEST_F(WorkersTest, TheQueuesBoundIsThatOfAllTogether) {
  StartWorkers(2, {.max_sequences = 1, .max_queued_requests = 3});
  std::vector<Call> calls = {Hold(0), Hold(1)};
  for (int i = 0; i < 3; ++i) calls.push_back(Submit(Long()));
  EXPECT_EQ(engine_->status().requests_waiting, 3);
  EXPECT_EQ(Refusal(Long()).code(), Code::kResourceExhausted);
  for (FakeModel* model : models_) model->OpenGate();
  for (const Call& call : calls) ExpectReference(Long(), *call.sink);
}

TEST_F(WorkersTest, DrainWaitsForAll) {
  StartWorkers(2);
  const Call first = Hold(0), second = Hold(1);
  std::thread drain([&] { EXPECT_TRUE(engine_->Drain(absl::InfiniteFuture())); });
  for (FakeModel* model : models_) model->OpenGate();
  drain.join();
  ExpectReference(Long(), *first.sink);
  ExpectReference(Long(), *second.sink);
  EXPECT_EQ(Refusal(Long()).message(), "the server is draining");
}

TEST_F(WorkersTest, RunsATaskOnEachWorker) {
  std::atomic<int> turns[2] = {};
  StartWorkers(2, {.every_turn = [&](int worker, absl::Time) { ++turns[worker]; }});
  absl::Notification ran[2];
  ASSERT_TRUE(engine_->RunOnWorkers([&](int worker, absl::Time) { ran[worker].Notify(); }).ok());
  ran[0].WaitForNotification();
  ran[1].WaitForNotification();
  engine_.reset();
  EXPECT_GT(turns[0], 0);
  EXPECT_GT(turns[1], 0);
}

TEST_F(WorkersTest, WhatWaitsForAWorkerThatFailsMovesToAnother) {
  StartRebuilt(2, {.max_sequences = 1});
  const Call failing = Hold(0), running = Hold(1);
  const GenerateRequest small = Generate({1, 2}, 3);
  std::vector<Call> waiting = {Submit(small), Submit(small), Submit(small)};
  waiting.push_back(Submit(small));
  engine_->Cancel(waiting.back().handle);

  models_[0]->FailNextStep(absl::InternalError("/secret/path"));
  models_[0]->OpenGate();

  EXPECT_EQ(failing.sink->WaitDone(), absl::InternalError("the model failed"));
  const std::vector<WorkerEvent> events = observer_.AwaitWorkerEvents(1);
  EXPECT_EQ(events[0].worker, 0);
  EXPECT_EQ(events[0].state, State::kRebuilding);
  EXPECT_THAT(States(), ElementsAre(State::kRebuilding, State::kReady));
  EXPECT_TRUE(engine_->status().ready());
  models_[1]->OpenGate();
  ExpectReference(Long(), *running.sink);
  for (int i = 0; i < 3; ++i) ExpectReference(small, *waiting[i].sink);
  EXPECT_EQ(waiting[3].sink->WaitDone().code(), Code::kCancelled);

  EXPECT_THAT(rebuilt_at_, SizeIs(0));
  EXPECT_EQ(PassUntilEvents(2, Replica::kFirstDelay / 4)[1].state, State::kReady);
  EXPECT_EQ(engine_->status().workers[0].restarts, 1u);
  const Call again = Hold(0, small);
  models_[0]->OpenGate();
  ExpectReference(small, *again.sink);
  EXPECT_EQ(engine_->status().kv_blocks_free, engine_->status().kv_blocks_total);
}

TEST_F(WorkersTest, WhatWaitsForTheOnlyWorkerWaitsUntilItHasAModel) {
  StartRebuilt(1, {.max_sequences = 1});
  const Call failing = Hold(0);
  const GenerateRequest small = Generate({1, 2}, 3);
  GenerateRequest hasty = small;
  hasty.scheduling.queue_deadline = clock_.Now() + absl::Milliseconds(50);
  const Call waiting = Submit(small), late = Submit(hasty), cancelled = Submit(small);
  models_[0]->ThrowInNextStep();
  models_[0]->OpenGate();
  EXPECT_EQ(failing.sink->WaitDone().code(), Code::kInternal);
  observer_.AwaitWorkerEvents(1);
  EXPECT_FALSE(engine_->status().ready());
  EXPECT_EQ(engine_->status().lost, absl::OkStatus());

  const Call meanwhile = Submit(small);
  engine_->Cancel(cancelled.handle);
  EXPECT_EQ(cancelled.sink->WaitDone().code(), Code::kCancelled);
  Pass(absl::Milliseconds(50));
  EXPECT_EQ(late.sink->WaitDone().code(), Code::kDeadlineExceeded);
  PassUntilEvents(2, Replica::kFirstDelay / 4);

  ExpectReference(small, *waiting.sink);
  ExpectReference(small, *meanwhile.sink);
  EXPECT_TRUE(engine_->status().ready());
}

// Nobody has started, so nobody may expect the queue to go on at that pace.
TEST_F(WorkersTest, WhatGoesBackToTheQueueDoesNotCountAsStarted) {
  StartRebuilt(1, {.max_sequences = 1, .max_queued_requests = 3});
  const Call failing = Hold(0);
  std::vector<Call> waiting;
  for (int i = 0; i < 3; ++i) waiting.push_back(Submit(Long()));
  clock_.Advance(absl::Seconds(4));
  models_[0]->ThrowInNextStep();
  models_[0]->OpenGate();
  observer_.AwaitWorkerEvents(1);
  EXPECT_EQ(failing.sink->WaitDone().code(), Code::kInternal);

  const absl::Status refusal = Refusal(Long());

  EXPECT_EQ(refusal.code(), Code::kResourceExhausted);
  EXPECT_GE(RetryDelayOf(refusal), absl::Seconds(6)) << "one or two have started in four seconds";
}

TEST_F(WorkersTest, EachFailureThatFollowsSoonDoublesTheDelay) {
  StartRebuilt(1);
  rebuild_status_ = absl::ResourceExhaustedError("no memory");
  const absl::Time begin = clock_.Now();
  const Call failing = Hold(0);
  models_[0]->ThrowInNextStep();
  models_[0]->OpenGate();
  observer_.AwaitWorkerEvents(1);
  std::vector<absl::Duration> expected;
  for (absl::Duration delay = Replica::kFirstDelay; expected.size() < 12;
       delay = std::min(2 * delay, Replica::kLongestDelay)) {
    PassUntilEvents(expected.size() + 2, delay / 8);
    expected.push_back(delay);
  }
  EXPECT_THAT(rebuilt_at_, SizeIs(12));
  EXPECT_GE(rebuilt_at_[0] - begin, Replica::kFirstDelay);
  for (size_t i = 1; i < rebuilt_at_.size(); ++i) {
    EXPECT_GE(rebuilt_at_[i] - rebuilt_at_[i - 1], expected[i]) << i;
  }
}

// Threads begin with a stack larger than any address space, so that there is none to be had.
class NoMoreThreads {
 public:
  NoMoreThreads() {
    pthread_getattr_default_np(&before_);
    pthread_attr_t attributes = before_;
    pthread_attr_setstacksize(&attributes, size_t{1} << 60);
    pthread_setattr_default_np(&attributes);
  }
  ~NoMoreThreads() {
    pthread_setattr_default_np(&before_);
    pthread_attr_destroy(&before_);
  }

 private:
  pthread_attr_t before_;
};

TEST_F(WorkersTest, WithoutAThreadOrMemoryToLoadAModelItIsTriedAgain) {
  std::optional<NoMoreThreads> no_more_threads;
  int tries = 0;
  StartWorkers(
      1, {.rebuild = [&](int worker, std::unique_ptr<LanguageModel>, absl::Time) -> LoadModel {
        if (++tries == 1) throw std::bad_alloc();
        no_more_threads.reset();
        if (tries == 2) no_more_threads.emplace();
        return [this, worker] { return NewModel(worker); };
      }});
  const Call failing = Hold(0);
  const Call waiting = Submit(Generate({1, 2}, 3));
  models_[0]->ThrowInNextStep();
  models_[0]->OpenGate();
  EXPECT_EQ(failing.sink->WaitDone().code(), Code::kInternal);
  models_[0] = nullptr;  // it goes with its rebuild
  const std::vector<WorkerEvent> events = PassUntilEvents(4, Replica::kFirstDelay / 4);
  for (int i = 1; i <= 2; ++i) {
    EXPECT_EQ(events[i].state, State::kRebuilding);
    EXPECT_EQ(events[i].reason.code(), Code::kInternal);
  }
  EXPECT_EQ(events[3].state, State::kReady);
  EXPECT_EQ(tries, 3);
  EXPECT_EQ(waiting.sink->WaitDone(), absl::OkStatus());
  EXPECT_FALSE(engine_->status().loads());
}

TEST_F(WorkersTest, WhatWaitsForOneMovesToTheFirstThatIsReady) {
  StartRebuilt(2, {.max_sequences = 1});
  stuck_ = 1;
  const Call first = Hold(0), second = Hold(1);
  const GenerateRequest small = Generate({1, 2}, 3);
  const Call waiting = Submit(small), another = Submit(small);
  FakeModel* const last = models_[1];
  models_[0]->ThrowInNextStep();
  models_[0]->OpenGate();
  observer_.AwaitWorkerEvents(1);
  last->ThrowInNextStep();
  last->OpenGate();
  observer_.AwaitWorkerEvents(2);
  const Call late = Submit(small);

  const WorkerEvent ready = PassUntilEvents(3, Replica::kFirstDelay / 4)[2];
  EXPECT_EQ(ready.worker, 0);
  EXPECT_EQ(ready.state, State::kReady);
  for (const Call& call : {waiting, another, late}) ExpectReference(small, *call.sink);
  EXPECT_THAT(States(), ElementsAre(State::kReady, State::kRebuilding));
  load_goes_on_.Notify();
}

// Whoever has no deadline waits for as long, and idle turns go on.
TEST_F(WorkersTest, ALoadThatHangsIsAReasonToStartTheProcessAnew) {
  const absl::Duration timeout = absl::Seconds(10), limit = kLoadTimeouts * timeout;
  const auto health_at = [&](absl::Time now) {
    EngineStatus status = engine_->status();
    status.last_turn = now - timeout;
    return CheckHealth(status, timeout, now);
  };
  StartRebuilt(1);
  stuck_ = 0;
  const Call failing = Hold(0);
  models_[0]->ThrowInNextStep();
  models_[0]->OpenGate();
  EXPECT_EQ(failing.sink->WaitDone().code(), Code::kInternal);
  while (!engine_->status().loads()) Pass(Replica::kFirstDelay / 4);
  const absl::Time begin = engine_->status().loads_since;

  EXPECT_EQ(health_at(begin + limit), absl::OkStatus());
  EXPECT_EQ(health_at(begin + limit + absl::Seconds(1)),
            absl::UnavailableError("a model has been loading for 1m41s (more than 10 times "
                                   "--step-timeout=10s)"));
  load_goes_on_.Notify();
  PassUntilEvents(2, Replica::kFirstDelay / 4);
  EXPECT_EQ(health_at(begin + 2 * limit), absl::OkStatus());
}

// A model that takes long to load holds up nobody.
TEST_F(WorkersTest, WhoWaitsIsHeardWhileAModelIsLoaded) {
  StartRebuilt(1, {.max_sequences = 1});
  stuck_ = 0;
  const Call failing = Hold(0);
  GenerateRequest hasty = Long();
  hasty.scheduling.deadline = clock_.Now() + absl::Minutes(5);
  const Call late = Submit(hasty), cancelled = Submit(Long()), patient = Submit(Long());
  models_[0]->ThrowInNextStep();
  models_[0]->OpenGate();
  while (!engine_->status().loads()) Pass(Replica::kFirstDelay / 4);

  engine_->Cancel(cancelled.handle);
  EXPECT_EQ(cancelled.sink->WaitDone().code(), Code::kCancelled);
  Pass(absl::Minutes(5));
  EXPECT_EQ(late.sink->WaitDone().code(), Code::kDeadlineExceeded);
  EXPECT_TRUE(engine_->Drain(clock_.Now()));
  EXPECT_EQ(patient.sink->WaitDone().code(), Code::kUnavailable);
  EXPECT_TRUE(engine_->status().loads());
  EXPECT_FALSE(engine_->status().hangs);
  load_goes_on_.Notify();
}

TEST_F(WorkersTest, NoModelIsLoadedOnceNobodyNeedsIt) {
  StartRebuilt(1);
  const Call failing = Hold(0);
  models_[0]->ThrowInNextStep();
  engine_->StopAdmission();
  models_[0]->OpenGate();
  EXPECT_EQ(failing.sink->WaitDone().code(), Code::kInternal);
  observer_.AwaitWorkerEvents(1);
  for (int i = 0; i < 3; ++i) {
    Pass(Replica::kFirstDelay);
    absl::Notification turned;
    ASSERT_TRUE(engine_->RunOnWorkers([&](int, absl::Time) { turned.Notify(); }).ok());
    turned.WaitForNotification();
  }
  EXPECT_THAT(rebuilt_at_, SizeIs(0));
  EXPECT_TRUE(engine_->Drain(absl::InfiniteFuture()));
}

TEST_F(WorkersTest, TellsOfEveryChangeOfReadiness) {
  StartRebuilt(1);
  absl::Mutex mu;
  std::vector<bool> told;
  engine_->WatchReadiness([&](bool ready) {
    absl::MutexLock lock(&mu);
    if (told.empty() || told.back() != ready) told.push_back(ready);
  });
  const Call failing = Hold(0);
  models_[0]->ThrowInNextStep();
  models_[0]->OpenGate();
  EXPECT_EQ(failing.sink->WaitDone().code(), Code::kInternal);
  PassUntilEvents(2, Replica::kFirstDelay / 4);
  {
    // It is ready before it is told of.
    absl::MutexLock lock(&mu);
    const auto is_ready_again = [&told] { return told.size() == 3; };
    mu.Await(absl::Condition(&is_ready_again));
  }
  engine_->StopAdmission();
  engine_->WatchReadiness(nullptr);
  EXPECT_THAT(told, ElementsAre(true, false, true, false));
}

TEST_F(WorkersTest, WhatIsCancelledWhileItsModelCannotBeHadAgainIsToldSo) {
  std::atomic<RequestHandle> handle = 0;
  StartWorkers(1, {.max_sequences = 1,
                   .rebuild = [&](int, std::unique_ptr<LanguageModel>, absl::Time) -> LoadModel {
                     return [&]() -> absl::StatusOr<std::unique_ptr<LanguageModel>> {
                       engine_->Cancel(handle);
                       return absl::UnavailableError("the device is gone");
                     };
                   }});
  const Call failing = Hold(0);
  const Call waiting = Submit(Generate({1, 2}, 3)), other = Submit(Generate({1, 2}, 3));
  handle = waiting.handle;
  models_[0]->FailNextStep(absl::InternalError("a bad step"));
  models_[0]->OpenGate();
  EXPECT_EQ(failing.sink->WaitDone().code(), Code::kInternal);
  models_.clear();  // the model goes with its rebuild
  PassUntilEvents(2, Replica::kFirstDelay / 4);

  EXPECT_EQ(waiting.sink->WaitDone().code(), Code::kCancelled);
  EXPECT_EQ(other.sink->WaitDone().code(), Code::kUnavailable);
  EXPECT_TRUE(engine_->Drain(absl::InfiniteFuture()));
}

TEST_F(WorkersTest, ALostWorkerLeavesTheRestToOthers) {
  std::atomic<int> told = 0, gone = 0;
  const absl::Status lost = absl::UnavailableError("the device is lost");
  StartRebuilt(2, {.max_sequences = 1,
                   .on_model_gone = [&](int) { ++gone; },
                   .on_lost =
                       [&](const absl::Status& status) {
                         EXPECT_EQ(status, lost);
                         ++told;
                       }});
  const Call failing = Hold(0), running = Hold(1);
  const GenerateRequest small = Generate({1, 2}, 3);
  const Call waiting = Submit(small), second = Submit(small);
  models_[0]->FailNextStep(lost);
  models_[0]->OpenGate();
  EXPECT_EQ(failing.sink->WaitDone(), lost);
  models_[1]->OpenGate();
  ExpectReference(Long(), *running.sink);
  ExpectReference(small, *waiting.sink);
  ExpectReference(small, *second.sink);
  EXPECT_THAT(States(), ElementsAre(State::kLost, State::kReady));
  EXPECT_TRUE(engine_->status().ready());
  EXPECT_EQ(engine_->status().lost, absl::OkStatus());
  EXPECT_EQ(engine_->status().workers[0].lost, lost);
  EXPECT_EQ(told, 0);
  EXPECT_EQ(gone, 1);

  const Call last = Hold(1);
  models_[1]->FailNextStep(lost);
  models_[1]->OpenGate();
  EXPECT_EQ(last.sink->WaitDone(), lost);
  observer_.AwaitWorkerEvents(2);
  EXPECT_EQ(Refusal(Long()), lost);
  EXPECT_EQ(engine_->status().lost, lost);
  EXPECT_FALSE(engine_->status().ready());
  EXPECT_TRUE(engine_->Drain(absl::InfiniteFuture()));
  EXPECT_EQ(told, 1);
  EXPECT_THAT(rebuilt_at_, SizeIs(0));
}

// A step that waits at its gate for longer than the timeout.
class HungWorkerTest : public WorkersTest {
 protected:
  static constexpr absl::Duration kTimeout = absl::Seconds(10);

  HungWorkerTest() {
    // Nothing else of the model may be touched once its thread is put aside.
    goes_with_models_ =
        std::shared_ptr<void>(nullptr, [this](void*) { all_models_gone_.Notify(); });
  }

  // The thread that was put aside is not joined: it ends when it has destroyed its model.
  void EndAll(FakeModel* hung) {
    goes_with_models_ = nullptr;
    engine_.reset();
    models_.clear();
    hung->OpenGate();
    all_models_gone_.WaitForNotification();
  }

  absl::Notification all_models_gone_;
};

TEST_F(HungWorkerTest, ItsRequestsEndAndItIsReplaced) {
  std::atomic<int> gone = 0;
  StartRebuilt(2, {.max_sequences = 1, .step_timeout = kTimeout, .on_model_gone = [&](int worker) {
                     EXPECT_EQ(worker, 0);
                     ++gone;
                   }});
  const Call hanging = Hold(0);
  FakeModel* const hung = models_[0];
  clock_.Advance(absl::Seconds(1));
  const Call running = Hold(1);
  const GenerateRequest small = Generate({1, 2}, 3);
  const Call waiting = Submit(small), second = Submit(small);

  Pass(kTimeout - absl::Seconds(1) - absl::Nanoseconds(1));
  EXPECT_THAT(States(), Each(State::kReady));
  Pass(absl::Nanoseconds(1));

  EXPECT_EQ(hanging.sink->WaitDone(), absl::UnavailableError("a step of the model does not end"));
  models_[1]->OpenGate();
  ExpectReference(Long(), *running.sink);
  ExpectReference(small, *waiting.sink);
  ExpectReference(small, *second.sink);
  EXPECT_EQ(gone, 1);
  PassUntilEvents(2, Replica::kFirstDelay / 4);
  EXPECT_THAT(States(), Each(State::kReady));
  EXPECT_NE(models_[0], hung);
  const Call again = Hold(0);
  models_[0]->OpenGate();
  ExpectReference(Long(), *again.sink);
  EXPECT_GE(clock_.Now() - engine_->status().last_turn, kTimeout) << "it still hangs";
  EXPECT_EQ(engine_->status().kv_blocks_free, engine_->status().kv_blocks_total);

  EXPECT_TRUE(engine_->Drain(absl::InfiniteFuture())) << "nobody waits for what hangs";
  EndAll(hung);
}

// All that ran was stopped as well, and could not end.
TEST_F(HungWorkerTest, AProcessThatWasStoppedForLongerDoesNotHang) {
  StartRebuilt(1, {.step_timeout = kTimeout});
  const Call slow = Hold(0);
  Pass(absl::Seconds(1));
  clock_.Advance(10 * kTimeout);
  clock_.AwaitSleeper();
  EXPECT_THAT(States(), ElementsAre(State::kReady));
  Pass(kTimeout - absl::Nanoseconds(1));
  EXPECT_THAT(States(), ElementsAre(State::kReady));
  models_[0]->LetStepThrough();
  models_[0]->AwaitStep();
  FakeModel* const hung = models_[0];
  Pass(kTimeout);
  EXPECT_EQ(slow.sink->WaitDone().code(), Code::kUnavailable);
  EndAll(hung);
}

// Whoever reads on may say so at any time.
TEST_F(HungWorkerTest, MayBeWokenWhileItStops) {
  StartRebuilt(1, {.step_timeout = kTimeout});
  std::atomic<bool> stopped = false;
  std::thread reader([&] {
    while (!stopped) engine_->Wake();
  });
  EXPECT_EQ(Submit(Generate({1, 2}, 3)).sink->WaitDone(), absl::OkStatus());
  engine_->Stop();
  stopped = true;
  reader.join();
}

// What comes back is nobody's.
TEST_F(HungWorkerTest, AStepThatComesBackIsForgotten) {
  StartRebuilt(1, {.step_timeout = kTimeout});
  const Call hanging = Hold(0);
  FakeModel* const hung = models_[0];
  Pass(kTimeout);
  EXPECT_EQ(hanging.sink->WaitDone().code(), Code::kUnavailable);
  const Call waiting = Submit(Long());
  observer_.AwaitWorkerEvents(1);
  hung->OpenGate();
  PassUntilEvents(2, Replica::kFirstDelay / 4);
  ExpectReference(Long(), *waiting.sink);
  EXPECT_THAT(hanging.sink->record().candidates, SizeIs(0)) << "not even its token";
  EXPECT_THAT(observer_.requests(), SizeIs(2));
  goes_with_models_ = nullptr;
  engine_.reset();
  all_models_gone_.WaitForNotification();
  models_.clear();
}

TEST_F(HungWorkerTest, AWorkerThatHangsTwiceAtATimeIsLost) {
  std::atomic<int> told = 0;
  StartRebuilt(1, {.step_timeout = kTimeout, .on_lost = [&](const absl::Status&) { ++told; }});
  const Call first = Hold(0);
  FakeModel* const hung = models_[0];
  Pass(kTimeout);
  EXPECT_EQ(first.sink->WaitDone().code(), Code::kUnavailable);
  PassUntilEvents(2, Replica::kFirstDelay / 4);
  const Call second = Hold(0);
  FakeModel* const hung_too = models_[0];
  Pass(kTimeout);

  EXPECT_EQ(second.sink->WaitDone().code(), Code::kUnavailable);
  EXPECT_EQ(Refusal(Long()).code(), Code::kUnavailable);
  EXPECT_THAT(States(), ElementsAre(State::kLost));
  EXPECT_TRUE(engine_->Drain(absl::InfiniteFuture()));
  EXPECT_EQ(told, 1);
  hung_too->OpenGate();
  EndAll(hung);
}

TEST_F(HungWorkerTest, WithoutAReplacementItIsLost) {
  std::atomic<int> told = 0;
  StartWorkers(1, {.max_sequences = 1,
                   .step_timeout = kTimeout,
                   .on_lost = [&](const absl::Status&) { ++told; }});
  const Call hanging = Hold(0);
  const Call waiting = Submit(Long());
  FakeModel* const hung = models_[0];
  Pass(kTimeout);
  EXPECT_EQ(hanging.sink->WaitDone().code(), Code::kUnavailable);
  EXPECT_EQ(waiting.sink->WaitDone().code(), Code::kUnavailable);
  EXPECT_TRUE(engine_->Drain(absl::InfiniteFuture()));
  EXPECT_EQ(told, 1);
  EndAll(hung);
}

}  // namespace
}  // namespace peerage
