#include "tests/unit/engine/simulation/workers_simulation.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "server/engine/replica.h"
#include "server/engine/retry_delay.h"
#include "server/engine/router.h"
#include "tests/support/fake_tokenizer.h"
#include "tests/unit/engine/simulation/answers.h"
#include "tests/unit/engine/simulation/block_rules.h"
#include "tests/unit/engine/simulation/client.h"
#include "tests/unit/engine/simulation/door.h"
#include "tests/unit/engine/simulation/ending_rules.h"
#include "tests/unit/engine/simulation/hash_model.h"
#include "tests/unit/engine/simulation/step_rules.h"
#include "tests/unit/engine/simulation/stepped_clock.h"
#include "tests/unit/engine/simulation/watcher.h"
#include "tests/unit/engine/simulation/worker_line.h"
#include "tests/unit/engine/simulation/worker_rules.h"

namespace peerage {
namespace {

using Kind = Disturbance::Kind;

// While nobody computes, so that a worker's longest delay is soon over.
constexpr absl::Duration kIdleTick = absl::Milliseconds(200);
constexpr int kMostIdleTurns = 1000;

// A worker, and what is known of it from outside.
struct Desk {
  std::unique_ptr<Replica> replica;
  HashModel* model = nullptr;  // null while it has none
  std::optional<StepRules> step_rules;
  std::optional<BlockRules> block_rules;
  std::optional<WorkerLine> line;
  std::optional<Kind> fault;  // of its next step
  int failing_loads = 0;
  bool device_is_gone = false;
  bool was_ready = true;  // at the beginning of the turn

  WorkerState state() const { return replica->status().state; }
};

class WorkersSimulation {
 public:
  WorkersSimulation(const World& world, Coverage& coverage)
      : world_(world),
        coverage_(coverage),
        capacity_(CapacityOf(world)),
        clients_(world.arrivals.empty() ? 0 : world.arrivals.back().handle),
        watcher_(&ledger_, clients_),
        ending_rules_(world, &verdict_, &coverage),
        router_(world.workers, world.block_tokens, world.max_batch_tokens / 2),
        desks_(world.workers) {
    for (int i = 0; i < world.workers; ++i) {
      const WorkerParts parts{.index = i, .clock = &clock_, .observer = &watcher_};
      ReplicaOptions options{.scheduler = SchedulerOptionsOf(world),
                             .inbox = world.queue,
                             .rebuild = [this](int worker, std::unique_ptr<LanguageModel> failed,
                                               absl::Time) { return Rebuild(worker); },
                             .has_thread = false};
      desks_[i].replica =
          std::make_unique<Replica>(NewModel(i), parts, std::move(options), &router_);
    }
  }

  Outcome Run() {
    size_t arrived = 0, disturbed = 0;
    for (; verdict_.ok() && (arrived < world_.arrivals.size() || !live_.empty()); ++turn_) {
      const bool was_stopped = stopped_;
      for (Desk& desk : desks_) desk.was_ready = desk.state() == WorkerState::kReady;
      while (arrived < world_.arrivals.size() && world_.arrivals[arrived].turn <= turn_) {
        Arrive(world_.arrivals[arrived++]);
      }
      while (disturbed < world_.disturbances.size() &&
             world_.disturbances[disturbed].turn <= turn_) {
        Disturb(world_.disturbances[disturbed++]);
      }
      bool computed = false;
      for (Desk& desk : desks_) computed |= Turn(desk);
      if (verdict_.ok()) AfterTurn(computed, was_stopped);
      before_ = clock_.Now();
      clock_.Advance(computed ? world_.tick : std::max(world_.tick, kIdleTick));
    }
    if (verdict_.ok()) CheckNothingHeld();
    coverage_.cached += ledger_.cached;
    coverage_.recomputed += ledger_.told.recomputed;
    return {.failure = verdict_.failure(), .log = ledger_.log};
  }

 private:
  std::unique_ptr<HashModel> NewModel(int worker) {
    Desk& desk = desks_[worker];
    auto model = std::make_unique<HashModel>(
        capacity_.model, &verdict_, [this, &desk](const StepInput& in) { BeforeStep(desk, in); });
    if (world_.poisoned) model->PoisonToken(kPoison);
    desk.model = model.get();
    desk.step_rules.emplace(world_, &verdict_, &coverage_);
    desk.block_rules.emplace(world_, &verdict_, &coverage_);
    desk.line.emplace(world_, &verdict_, &coverage_);
    return model;
  }

  // What failed ends here.
  LoadModel Rebuild(int worker) {
    Desk& desk = desks_[worker];
    desk.model = nullptr;
    return [this, worker, &desk]() -> absl::StatusOr<std::unique_ptr<LanguageModel>> {
      if (desk.device_is_gone) return absl::UnavailableError("injected");
      if (desk.failing_loads > 0) {
        --desk.failing_loads;
        return absl::ResourceExhaustedError("injected");
      }
      ++coverage_.rebuilt;
      return NewModel(worker);
    };
  }

  void Arrive(const Arrival& arrival) {
    Client& client = clients_[arrival.handle - 1];
    client = Client(arrival, world_.tick, {&tokenizer_, &ledger_, &verdict_}, clock_.Now());
    std::vector<int64_t> before;
    for (const Desk& desk : desks_) before.push_back(desk.replica->inbox().load().requests);
    const absl::Status status = Submit(client);
    CheckDoor(client, status);
    ledger_.Log(static_cast<uint64_t>(status.code()));
    if (!status.ok()) return;
    while (before[client.worker] == desks_[client.worker].replica->inbox().load().requests) {
      ++client.worker;
    }
    live_.push_back(&client);
    most_steps_ += client.most_tokens;
    idle_turns_ = 0;
  }

  // As the engine's door does.
  absl::Status Submit(Client& client) {
    RETURN_IF_ERROR(router_.CheckOpen());
    ASSIGN_OR_RETURN(std::unique_ptr<Task> task, TaskOf(client, capacity_, {&tokenizer_, layers_}));
    return router_.Submit(std::move(task));
  }

  void CheckDoor(const Client& client, const absl::Status& status) {
    const RequestHandle handle = client.arrival->handle;
    const bool open = !stopped_ && !AllLost();
    const size_t fewest = world_.queue.prompt_tokens == INT64_MAX ? world_.queue.requests : 1;
    coverage_.refused += !status.ok();
    switch (status.code()) {
      case absl::StatusCode::kOk:
        return verdict_.Require(open, "request ", handle,
                                " is let in, though nobody will serve it");
      case absl::StatusCode::kResourceExhausted:
        return verdict_.Require(live_.size() >= fewest && RetryDelayOf(status).has_value(),
                                "request ", handle, " is refused, though others are few");
      case absl::StatusCode::kUnavailable:
        return verdict_.Require(!open, "request ", handle, " is refused without a reason");
      default:
        verdict_.Require(status.code() == absl::StatusCode::kOutOfRange, "request ", handle,
                         " is refused: ", status.ToString());
    }
  }

  void Disturb(const Disturbance& disturbance) {
    Desk& desk = desks_[std::min(disturbance.worker, world_.workers - 1)];
    const bool of_request = disturbance.handle > 0;
    const bool is_there = of_request && disturbance.handle <= clients_.size();
    Client* const client = is_there ? &clients_[disturbance.handle - 1] : nullptr;
    const bool lives = is_there && client->reader != nullptr && !client->reader->done();
    if (of_request && !lives) return;
    idle_turns_ = 0;
    switch (disturbance.kind) {
      case Kind::kCancel:
        client->cancelled = true;
        return router_.Cancel(disturbance.handle);
      case Kind::kReaderFallsBehind:
        return client->FallBehind(clock_.Now());
      case Kind::kReaderCatchesUp:
        client->CatchUp(clock_.Now());
        for (Desk& each : desks_) each.replica->inbox().Wake();
        return;
      case Kind::kLoadFails:
        ++desk.failing_loads;
        return;
      case Kind::kDeviceIsGone:
        desk.device_is_gone = true;
        return;
      case Kind::kStop:
        stopped_ = true;
        for (Desk& each : desks_) {
          each.replica->inbox().Close();
          each.replica->inbox().EndAll(absl::UnavailableError("the server stops"));
        }
        return;
      case Kind::kStepFails:
      case Kind::kStepThrows:
      case Kind::kModelIsLost:
      case Kind::kStepHangs:
        desk.fault = disturbance.kind;
    }
  }

  bool Turn(Desk& desk) {
    if (!verdict_.ok()) return false;
    if (desk.model != nullptr) desk.model->TakeOpened();
    HashModel* const model = desk.model;
    const bool computed = desk.replica->Turn();
    if (!verdict_.ok()) return computed;
    if (computed) desk.step_rules->CheckTold(ledger_.last_step);
    // It was, and is, with the same model.
    const bool is_ready = desk.was_ready && desk.state() == WorkerState::kReady;
    if (is_ready && desk.model == model) AfterWorkersTurn(desk, computed);
    // Of other workers' lines.
    for (Client* const client : live_) client->line.left |= client->reader->done();
    ledger_.Check(verdict_);
    return computed;
  }

  void AfterWorkersTurn(Desk& desk, bool computed) {
    const std::shared_ptr<Worker> worker = desk.replica->worker();
    const Scheduler& scheduler = worker->scheduler();
    if (!computed) {
      desk.step_rules->Pause();
      AfterAdmission(desk, scheduler);
      CheckNothingToDo(scheduler, verdict_);
    }
    desk.line->AfterTurn(scheduler, clock_.Now());
    desk.block_rules->Check(scheduler);
    CheckStatus(*worker, *desk.model, verdict_);
  }

  void AfterAdmission(Desk& desk, const Scheduler& scheduler) {
    for (Client* const client : live_) client->runs = false;
    MarkRunning(scheduler, *desk.model, absl::MakeSpan(clients_));
    CountAllPreemptions();
    desk.line->AfterAdmission(live_, scheduler, clock_.Now());
  }

  void CountAllPreemptions() {
    for (Client* const client : live_) {
      if (client->reader->done()) continue;
      const uint32_t more = CountPreemptions(*client, world_, ledger_, verdict_);
      coverage_.preemptions += more;
      most_steps_ += more * client->most_tokens;
    }
  }

  // In the middle of a turn: what the worker has chosen, before the model computes it.
  void BeforeStep(Desk& desk, const StepInput& input) {
    const std::shared_ptr<Worker> worker = desk.replica->worker();
    const Scheduler& scheduler = worker->scheduler();
    AfterAdmission(desk, scheduler);
    desk.step_rules->Check(input, scheduler, absl::MakeSpan(clients_), clock_.Now());
    desk.block_rules->Check(scheduler);
    if (!verdict_.ok()) return;
    ++steps_;
    desk.step_rules->ChargeDecodes(input, clients_, desk.line->rules());
    desk.step_rules->MarkFailing(input, /*as_a_whole=*/false, desk.model->TakeOpened(),
                                 absl::MakeSpan(clients_));
    for (const auto& task : scheduler.running()) See(desk, clients_[task->handle - 1]);
    if (const auto fault = std::exchange(desk.fault, std::nullopt)) Break(desk, *fault, scheduler);
  }

  void See(const Desk& desk, Client& client) {
    const auto worker = static_cast<int>(&desk - desks_.data());
    coverage_.moved += client.worker != worker;
    client.worker = worker;
  }

  // All that the worker has begun ends.
  void Break(Desk& desk, Kind fault, const Scheduler& scheduler) {
    const bool is_lost = fault == Kind::kModelIsLost || fault == Kind::kStepHangs;
    for (Client* const client : live_) {
      const bool is_here = client->worker == static_cast<int>(&desk - desks_.data());
      if (!is_here || !client->reader->begun()) continue;
      (is_lost ? client->may_be_lost : client->may_fail) = true;
    }
    for (const auto& task : scheduler.running()) {
      Client& client = clients_[task->handle - 1];
      (is_lost ? client.may_be_lost : client.may_fail) = client.must_fail = true;
    }
    ++ledger_.broken_steps;
    idle_turns_ = 0;
    switch (fault) {
      case Kind::kStepHangs:  // what the watchdog does meanwhile
        ++coverage_.hangs;
        desk.model = nullptr;  // it ends with the thread that is put aside
        return desk.replica->EndStepBegunBy(clock_.Now());
      case Kind::kModelIsLost:
        return desk.model->BreakNextStep(HashModel::Fault::kIsLost);
      case Kind::kStepThrows:
        return desk.model->BreakNextStep(HashModel::Fault::kThrows);
      default:
        desk.model->BreakNextStep(HashModel::Fault::kFails);
    }
  }

  void AfterTurn(bool computed, bool was_stopped) {
    const bool all_lost = AllLost();
    for (Client* const client : live_) {
      // Who moves while its deadline passes ends in the turn after that.
      const absl::Time now = client->reader->done() ? clock_.Now() : before_;
      ending_rules_.Check(*client, live_, now, was_stopped, stopped_ || all_lost);
    }
    live_.erase(std::remove_if(live_.begin(), live_.end(),
                               [](const Client* client) { return client->ended; }),
                live_.end());
    CheckCounts();
    idle_turns_ = computed ? 0 : idle_turns_ + 1;
    verdict_.Require(idle_turns_ <= kMostIdleTurns && steps_ <= most_steps_,
                     "a request never ends");
  }

  // Everybody is somewhere, once, and nobody waits in vain.
  void CheckCounts() {
    int64_t requests = 0, waiting = 0, running = 0;
    const bool one_was_ready = std::any_of(desks_.begin(), desks_.end(), [](const Desk& desk) {
      return desk.was_ready && desk.state() == WorkerState::kReady;
    });
    for (const Desk& desk : desks_) {
      const WorkerStatus status = desk.replica->status();
      requests += desk.replica->inbox().load().requests;
      waiting += status.requests_waiting;
      running += static_cast<int64_t>(desk.replica->worker()->scheduler().running().size());
      verdict_.Require(
          !one_was_ready || status.state == WorkerState::kReady || status.requests_waiting == 0,
          "a request waits for a worker that is not ready while another is");
    }
    const auto live = static_cast<int64_t>(live_.size());
    verdict_.Require(requests == live, live, " requests have not ended, workers count ", requests);
    verdict_.Require(waiting + running == live, live, " requests have not ended, ", waiting,
                     " are said to wait, ", running, " run");
  }

  void CheckNothingHeld() {
    for (const Desk& desk : desks_) {
      if (desk.state() != WorkerState::kReady) continue;
      const int32_t free = desk.replica->status().kv_blocks_free;
      verdict_.Require(free == world_.num_blocks, world_.num_blocks - free,
                       " blocks are held by nobody");
    }
    for (const Client& client : clients_) {
      verdict_.Require(client.reader == nullptr || client.reader.use_count() == 1,
                       "somebody keeps a reader that is done");
    }
  }

  bool AllLost() const {
    return std::all_of(desks_.begin(), desks_.end(),
                       [](const Desk& desk) { return desk.state() == WorkerState::kLost; });
  }

  const World& world_;
  Coverage& coverage_;
  const EngineCapacity capacity_;
  const std::vector<ExpertLayer> layers_ = {answers::kExperts};
  Verdict verdict_;
  Ledger ledger_;
  SteppedClock clock_;
  FakeTokenizer tokenizer_;
  std::vector<Client> clients_;  // by handle - 1
  std::vector<Client*> live_;
  Watcher watcher_;
  EndingRules ending_rules_;
  Router router_;
  std::vector<Desk> desks_;

  int64_t turn_ = 0;
  absl::Time before_ = absl::InfinitePast();  // at the turn before
  int64_t steps_ = 0;
  int64_t most_steps_ = 0;
  int64_t idle_turns_ = 0;
  bool stopped_ = false;
};

}  // namespace

Outcome SimulateWorkers(const World& world, Coverage& coverage) {
  return WorkersSimulation(world, coverage).Run();
}

}  // namespace peerage
