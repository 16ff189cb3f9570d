#include "server/engine/replica.h"

#include <algorithm>
#include <exception>
#include <utility>

namespace peerage {
namespace {

bool IsLost(const absl::Status& status) { return status.code() == absl::StatusCode::kUnavailable; }

absl::StatusOr<std::unique_ptr<LanguageModel>> TryRebuild(const RebuildModel& rebuild, int worker,
                                                          std::unique_ptr<LanguageModel> failed,
                                                          absl::Time now) {
  try {
    return rebuild(worker, std::move(failed), now);
  } catch (const std::exception& error) {
    return absl::InternalError(error.what());
  }
}

}  // namespace

// What a thread keeps alive, wherever it hangs: nobody else may end it.
struct Replica::Life {
  std::unique_ptr<LanguageModel> model;  // null while it is yet to be had
  std::shared_ptr<Worker> worker;        // ends before its model
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
  thread_ = std::thread([this, life] { Run(*life); });
}

void Replica::Run(Life& life) {
  while (true) {
    life.worker->Run();
    if (life.worker->abandoned()) return;  // the replica may be gone
    if (inbox_.finished()) return;
    if (life.worker->failed()) {
      AwaitModel(life);
    } else {
      Rebuild(life);
    }
  }
}

void Replica::DriveModel(Life& life) {
  WorkerParts parts = parts_;
  parts.model = life.model.get();
  parts.ends_at_failure = options_.rebuild != nullptr;
  parts.on_failed = [this, &life](const absl::Status& status) {
    const bool is_lost = IsLost(status);
    if (is_lost && options_.on_model_gone) options_.on_model_gone(parts_.index);
    Fail(*life.worker, is_lost ? WorkerState::kLost : WorkerState::kRebuilding, status);
  };
  Drive(life, parts, options_.scheduler);
}

// Whoever waits is heard, but nothing fits.
void Replica::AwaitModel(Life& life) {
  const bool is_lost = status().state == WorkerState::kLost;
  WorkerParts parts = parts_;
  parts.until = is_lost ? absl::InfiniteFuture() : parts_.clock->Now() + NextDelay();
  SchedulerOptions options = options_.scheduler;
  options.max_sequences = options.num_blocks = 0;
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

void Replica::Rebuild(Life& life) {
  const absl::Time now = parts_.clock->Now();
  // Whoever waits does so in the inbox until the next worker looks there.
  router_->MoveAway(parts_.index,
                    [&] { return life.worker->GiveUpWaiting(absl::OkStatus(), now); });
  life.worker->AnnounceEnded(now);
  SetLoading(true);
  auto model = TryRebuild(options_.rebuild, parts_.index, std::move(life.model), now);
  SetLoading(false);
  if (model.ok()) {
    life.model = *std::move(model);
    DriveModel(life);
    SetState(WorkerState::kReady, absl::OkStatus());
    return;
  }
  if (IsLost(model.status())) {
    Fail(*life.worker, WorkerState::kLost, model.status());
    life.worker->AnnounceEnded(parts_.clock->Now());  // what was cancelled meanwhile
    inbox_.Fail(model.status());
  } else {
    parts_.observer->OnWorkerState({parts_.index, WorkerState::kRebuilding, model.status()});
  }
  AwaitModel(life);
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
  thread_.detach();
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
  if (all_lost && options_.on_all_lost) options_.on_all_lost(reason);
}

void Replica::SetLoading(bool is_loading) {
  absl::MutexLock lock(&mu_);
  is_loading_ = is_loading;
}

absl::Duration Replica::NextDelay() {
  absl::MutexLock lock(&mu_);
  const int doublings = std::min(failures_++, 16);
  return std::min(kFirstDelay * (1 << doublings), kLongestDelay);
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
  if (is_loading_) status.last_turn = parts_.clock->Now();
  status.hangs = !aside_.expired();
  if (status.hangs) status.last_turn = std::min(status.last_turn, hung_turn_);
  return status;
}

}  // namespace peerage
