#include "server/engine/replica.h"

#include <algorithm>
#include <exception>
#include <utility>

namespace peerage {
namespace {

bool IsLost(const absl::Status& status) { return status.code() == absl::StatusCode::kUnavailable; }

absl::StatusOr<std::unique_ptr<LanguageModel>> TryLoad(const LoadModel& load) {
  try {
    return load();
  } catch (const std::exception& error) {
    return absl::InternalError(error.what());
  }
}

}  // namespace

// A model on its way.
class Replica::Loading {
 public:
  Loading(LoadModel load, std::function<void()> on_end, bool has_thread) {
    auto run = [this, load = std::move(load), on_end = std::move(on_end)] {
      model_ = TryLoad(load);
      on_end();
    };
    if (has_thread) {
      thread_ = std::thread(std::move(run));
    } else {
      run();
    }
  }
  ~Loading() {
    if (thread_.joinable()) thread_.join();
  }

  // Waits for it.
  absl::StatusOr<std::unique_ptr<LanguageModel>> Take() {
    if (thread_.joinable()) thread_.join();
    return std::move(model_);
  }

 private:
  absl::StatusOr<std::unique_ptr<LanguageModel>> model_ = absl::UnknownError("still loading");
  std::thread thread_;
};

// What a thread keeps alive, wherever it hangs: nobody else may end it.
struct Replica::Life {
  std::unique_ptr<LanguageModel> model;          // null while it is yet to be had
  std::shared_ptr<Worker> worker;                // ends before its model
  std::unique_ptr<Loading> loading;              // the next model
  absl::Time next_try = absl::InfiniteFuture();  // to have one
};

Replica::Replica(std::unique_ptr<LanguageModel> model, const WorkerParts& parts,
                 ReplicaOptions options, Router* router)
    : parts_(parts),
      options_(std::move(options)),
      router_(router),
      device_(model->description().device),
      kernel_target_(model->description().kernel_target),
      inbox_(options_.inbox, parts.clock) {
  router_->AddWorker(&inbox_);
  StartThread(std::move(model));
}

Replica::~Replica() { Stop(); }

void Replica::Stop() {
  if (!thread_.joinable()) return;
  inbox_.Close();
  inbox_.EndAll(absl::UnavailableError("the server is stopping"));
  inbox_.Shutdown();
  thread_.join();
  std::unique_ptr<Loading> loading;  // which ends here
  absl::MutexLock lock(&mu_);
  if (life_ != nullptr) loading = std::move(life_->loading);
}

void Replica::StartThread(std::unique_ptr<LanguageModel> model) {
  const auto life = std::make_shared<Life>();
  life->model = std::move(model);
  {
    absl::MutexLock lock(&mu_);
    life_ = life;
  }
  if (life->model != nullptr) {
    DriveModel(*life);
  } else {
    AwaitModel(*life);
  }
  if (options_.has_thread) thread_ = std::thread([this, life] { Run(*life); });
}

void Replica::Run(Life& life) {
  while (true) {
    life.worker->Run(life.next_try);
    if (life.worker->abandoned()) return;  // the replica may be gone
    if (inbox_.finished()) return;
    GoOn(life);
  }
}

void Replica::GoOn(Life& life) {
  if (life.worker->failed()) {
    AwaitModel(life);
  } else if (life.loading == nullptr) {
    StartLoading(life);
  } else {
    EndLoading(life);
  }
}

bool Replica::Turn() {
  std::shared_ptr<Life> life;
  {
    absl::MutexLock lock(&mu_);
    life = life_;
  }
  const bool computed = life->worker->Turn();
  if (life->worker->abandoned()) return false;
  const bool is_time = parts_.clock->Now() >= life->next_try;
  if (life->worker->failed() || life->loading != nullptr || is_time) GoOn(*life);
  return computed;
}

void Replica::DriveModel(Life& life) {
  WorkerParts parts = parts_;
  parts.model = life.model.get();
  parts.ends_at_failure = options_.rebuild != nullptr;
  life.next_try = absl::InfiniteFuture();
  parts.on_failed = [this, &life](const absl::Status& status) {
    const bool is_lost = IsLost(status);
    if (is_lost && options_.on_model_gone) options_.on_model_gone(parts_.index);
    Fail(*life.worker, is_lost ? WorkerState::kLost : WorkerState::kRebuilding, status);
  };
  Drive(life, parts, options_.scheduler);
}

// Whoever waits is heard, but nothing fits.
void Replica::AwaitModel(Life& life) {
  WorkerParts parts = parts_;
  parts.every_turn = [this, &life](int, absl::Time now) { LeaveToOthers(*life.worker, now); };
  SchedulerOptions options = options_.scheduler;
  options.max_sequences = options.num_blocks = 0;
  life.next_try = NextTry();
  Drive(life, parts, options);
}

void Replica::Drive(Life& life, const WorkerParts& parts, const SchedulerOptions& options) {
  WorkerParts own = parts;
  own.inbox = &inbox_;
  life.worker = std::make_shared<Worker>(own, options);
  absl::MutexLock lock(&mu_);
  if (worker_ != nullptr) before_ += worker_->status();
  worker_ = life.worker;
}

void Replica::StartLoading(Life& life) {
  const absl::Time now = parts_.clock->Now();
  if (inbox_.closed() && inbox_.load().requests == 0) {  // nobody needs it, unless one moves here
    life.next_try = now + kFirstDelay;
    return;
  }
  SetLoadsSince(now);
  life.next_try = absl::InfiniteFuture();
  try {
    life.loading = std::make_unique<Loading>(
        options_.rebuild(parts_.index, std::move(life.model), now),
        [this, worker = life.worker] {
          // Refused once nobody waits for it any more.
          (void)inbox_.Run([worker](int, absl::Time) { worker->EndRun(); });
        },
        options_.has_thread);
  } catch (const std::exception& error) {  // such as no thread or memory to be had just now
    FailLoading(life, absl::InternalError(error.what()));
  }
}

void Replica::EndLoading(Life& life) {
  auto model = std::exchange(life.loading, nullptr)->Take();
  if (!model.ok()) return FailLoading(life, model.status());
  SetLoadsSince(absl::InfiniteFuture());
  const absl::Time now = parts_.clock->Now();
  // Whoever waits does so in the inbox until the next worker looks there.
  router_->MoveAway(parts_.index,
                    [&] { return life.worker->GiveUpWaiting(absl::OkStatus(), now); });
  life.worker->AnnounceEnded(now);
  life.model = *std::move(model);
  DriveModel(life);
  SetState(WorkerState::kReady, absl::OkStatus());
}

void Replica::FailLoading(Life& life, const absl::Status& status) {
  SetLoadsSince(absl::InfiniteFuture());
  if (IsLost(status)) {
    Fail(*life.worker, WorkerState::kLost, status);
    life.worker->AnnounceEnded(parts_.clock->Now());  // what was cancelled meanwhile
    inbox_.Fail(status);
  } else {
    parts_.observer->OnWorkerState({parts_.index, WorkerState::kRebuilding, status});
  }
  life.next_try = NextTry();
}

// Another worker may have become better off.
void Replica::LeaveToOthers(Worker& worker, absl::Time now) {
  if (inbox_.num_waiting() == 0 || !router_->HasBetterThan(parts_.index)) return;
  router_->MoveAway(parts_.index, [&] { return worker.GiveUpWaiting(absl::OkStatus(), now); });
}

void Replica::EndStepBegunBy(absl::Time begin) {
  const std::shared_ptr<Worker> hung = worker();
  if (!hung->Abandon(begin)) return;
  const absl::Status status = absl::UnavailableError("a step of the model does not end");
  parts_.observer->OnStepFailed(status);
  if (options_.on_model_gone) options_.on_model_gone(parts_.index);
  bool rebuilds = options_.rebuild != nullptr;
  {
    absl::MutexLock lock(&mu_);
    rebuilds = rebuilds && aside_.expired();
    aside_ = std::exchange(life_, nullptr);
    hung_turn_ = hung->status().last_turn;
  }
  Fail(*hung, rebuilds ? WorkerState::kRebuilding : WorkerState::kLost, status);
  if (!rebuilds) inbox_.Fail(status);
  hung->EndAbandoned(status, parts_.clock->Now());
  if (thread_.joinable()) thread_.detach();
  StartThread(nullptr);
}

void Replica::Fail(Worker& worker, WorkerState state, const absl::Status& status) {
  SetState(state, status);
  const absl::Time now = parts_.clock->Now();
  router_->MoveAway(parts_.index, [&] { return worker.GiveUpWaiting(status, now); });
}

void Replica::SetState(WorkerState state, const absl::Status& reason) {
  {
    absl::MutexLock lock(&mu_);
    const absl::Duration ready = parts_.clock->Now() - ready_since_;
    if (state_ == WorkerState::kReady && ready > kLongestDelay) failures_ = 0;
    if (state == WorkerState::kReady) {
      ++restarts_;
      ready_since_ = parts_.clock->Now();
    }
    state_ = state;
    if (state == WorkerState::kLost) lost_ = reason;
  }
  parts_.observer->OnWorkerState({parts_.index, state, reason});
  const bool all_lost = router_->SetState(parts_.index, state);
  if (options_.on_state) options_.on_state();
  if (all_lost && options_.on_all_lost) options_.on_all_lost(reason);
}

void Replica::SetLoadsSince(absl::Time time) {
  absl::MutexLock lock(&mu_);
  loads_since_ = time;
}

absl::Time Replica::NextTry() {
  absl::MutexLock lock(&mu_);
  if (state_ == WorkerState::kLost) return absl::InfiniteFuture();
  const int doublings = std::min(failures_++, 16);
  return parts_.clock->Now() + std::min(kFirstDelay * (1 << doublings), kLongestDelay);
}

std::shared_ptr<Worker> Replica::worker() const {
  absl::MutexLock lock(&mu_);
  return worker_;
}

WorkerStatus Replica::status() const {
  absl::MutexLock lock(&mu_);
  WorkerStatus status = worker_->status();
  status.state = state_;
  status.device = device_;
  status.kernel_target = kernel_target_;
  status.restarts = restarts_;
  status.requests_waiting = inbox_.num_waiting();
  status.waiting_prompt_tokens = inbox_.waiting_prompt_tokens();
  status.kv_blocks_total = options_.scheduler.num_blocks;
  if (state_ == WorkerState::kRebuilding) status.kv_blocks_free = status.kv_blocks_total;
  status += before_;
  if (!lost_.ok()) status.lost = lost_;
  status.loads_since = loads_since_;
  status.hangs = !aside_.expired();
  if (status.hangs) status.last_turn = std::min(status.last_turn, hung_turn_);
  return status;
}

}  // namespace peerage
