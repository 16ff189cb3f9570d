#include "tests/support/crowd.h"

#include <algorithm>
#include <climits>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "server/engine/engine.h"
#include "tests/support/fake_clock.h"
#include "tests/support/pattern_tokenizer.h"

namespace peerage {
namespace {

constexpr absl::Duration kTurn = absl::Milliseconds(10);

std::shared_ptr<AnswerSink> SinkOf(const GenerateRequest& request,
                                   absl::Span<const ExpertLayer> expert_layers) {
  auto sink = std::make_shared<AnswerSink>(expert_layers, request.prompt.size());
  sink->set_resumed(static_cast<uint32_t>(request.generated.size()));
  return sink;
}

std::shared_ptr<AnswerSink> SinkOf(const ScoreRequest& request,
                                   absl::Span<const ExpertLayer> expert_layers) {
  std::vector<size_t> lengths;
  for (const auto& continuation : request.continuations) lengths.push_back(continuation.size());
  return std::make_shared<AnswerSink>(expert_layers, request.context.size(), std::move(lengths));
}

class TallyingObserver final : public EngineObserver {
 public:
  explicit TallyingObserver(StepTally* tally) : tally_(tally) {}

  void OnStep(const StepEvent& event) override {
    if (tally_ == nullptr) return;
    absl::MutexLock lock(&mu_);
    ++tally_->steps;
    if (event.decode_tokens > 0 && event.prefill_tokens > 0) ++tally_->mixed_steps;
    tally_->most_sequences = std::max<int>(tally_->most_sequences, event.sequences);
  }

 private:
  absl::Mutex mu_;
  StepTally* const tally_;
};

class Crowd {
 public:
  Crowd(std::vector<std::unique_ptr<LanguageModel>> models, const EngineShape& shape,
        const std::vector<Arrival>& arrivals, StepTally* tally)
      : observer_(tally),
        tokenizer_(static_cast<int>(models.front()->description().vocabulary_size)),
        engine_({.max_batch_tokens = shape.max_batch_tokens,
                 .max_sequences = shape.max_sequences,
                 .max_queued_requests = INT_MAX,
                 .prefix_cache = shape.prefix_cache,
                 .admission = shape.admission},
                std::move(models), &tokenizer_, &clock_, &observer_) {
    for (const Arrival& arrival : arrivals) guests_.push_back({.arrival = arrival});
  }

  std::vector<Served> Serve() {
    if (PostTurn()) everybody_came_.WaitForNotification();
    std::vector<Served> served;
    for (const Guest& guest : guests_) {
      served.push_back({.status = guest.refusal.ok() ? guest.sink->WaitDone() : guest.refusal,
                        .answer = guest.sink->answer(),
                        .tokens = guest.sink->tokens(),
                        .cached_tokens = guest.sink->cached_tokens(),
                        .preemptions = guest.sink->preemptions()});
    }
    return served;
  }

  bool all_workers_stepped() const {
    const std::vector<WorkerStatus> workers = engine_.status().workers;
    return std::all_of(workers.begin(), workers.end(),
                       [](const WorkerStatus& worker) { return worker.steps > 0; });
  }

 private:
  struct Guest {
    Arrival arrival;
    std::shared_ptr<AnswerSink> sink = nullptr;
    RequestHandle handle = 0;
    absl::Status refusal = {};
  };

  bool PostTurn() {
    const auto of_first = [this](int worker, absl::Time) {
      if (worker == 0) Turn();
    };
    return engine_.RunOnWorkers(of_first).ok();
  }

  // Between two steps, on the first worker's thread.
  void Turn() {
    clock_.Advance(kTurn);
    bool more_to_come = false, busy = false;
    for (Guest& guest : guests_) {
      if (guest.arrival.turn == turn_) Submit(guest);
      if (guest.arrival.cancelled_at == turn_) engine_.Cancel(guest.handle);
      more_to_come |= guest.arrival.turn > turn_ || guest.arrival.cancelled_at.value_or(0) > turn_;
      busy |= guest.sink != nullptr && guest.refusal.ok() && !guest.sink->done();
    }
    if (!more_to_come) return everybody_came_.Notify();
    turn_ = busy ? turn_ + 1 : NextEvent();  // nothing happens in between
    if (!PostTurn()) everybody_came_.Notify();
  }

  void Submit(Guest& guest) {
    std::visit(
        [&](const auto& request) {
          guest.sink = SinkOf(request, engine_.model().expert_layers);
          const auto handle = engine_.Submit(request, guest.sink);
          guest.refusal = handle.status();
          guest.handle = handle.value_or(0);
        },
        guest.arrival.request);
  }

  int NextEvent() const {
    int next = INT_MAX;
    for (const Guest& guest : guests_) {
      for (const int turn : {guest.arrival.turn, guest.arrival.cancelled_at.value_or(0)}) {
        if (turn > turn_) next = std::min(next, turn);
      }
    }
    return next;
  }

  TallyingObserver observer_;
  const PatternTokenizer tokenizer_;
  FakeClock clock_;
  std::vector<Guest> guests_;
  int turn_ = 0;
  absl::Notification everybody_came_;
  Engine engine_;  // ends before what it uses
};

}  // namespace

std::vector<Served> Serve(std::vector<std::unique_ptr<LanguageModel>> models,
                          const EngineShape& shape, const std::vector<Arrival>& arrivals,
                          StepTally* tally) {
  Crowd crowd(std::move(models), shape, arrivals, tally);
  std::vector<Served> served = crowd.Serve();
  if (tally != nullptr) tally->crowds.at(shape.workers) += crowd.all_workers_stepped();
  return served;
}

}  // namespace peerage
