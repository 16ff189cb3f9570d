#include "tests/unit/engine/simulation/simulation.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "server/engine/inbox.h"
#include "server/engine/worker.h"
#include "tests/support/fake_tokenizer.h"
#include "tests/unit/engine/simulation/block_rules.h"
#include "tests/unit/engine/simulation/client.h"
#include "tests/unit/engine/simulation/door.h"
#include "tests/unit/engine/simulation/ending_rules.h"
#include "tests/unit/engine/simulation/hash_model.h"
#include "tests/unit/engine/simulation/line_rules.h"
#include "tests/unit/engine/simulation/step_rules.h"
#include "tests/unit/engine/simulation/stepped_clock.h"
#include "tests/unit/engine/simulation/watcher.h"
#include "tests/unit/engine/simulation/worker_rules.h"
#include "tests/unit/engine/simulation/workers_simulation.h"

namespace peerage {
namespace {

class Simulation {
 public:
  Simulation(const World& world, Coverage& coverage)
      : world_(world),
        coverage_(coverage),
        capacity_(CapacityOf(world)),
        clients_(world.arrivals.empty() ? 0 : world.arrivals.back().handle),
        watcher_(&ledger_, clients_),
        model_(capacity_.model, &verdict_, [this](const StepInput& input) { BeforeStep(input); }),
        inbox_(world.queue, &clock_),
        worker_({.model = &model_, .clock = &clock_, .observer = &watcher_, .inbox = &inbox_},
                SchedulerOptionsOf(world)),
        step_rules_(world, &verdict_, &coverage),
        block_rules_(world, &verdict_, &coverage),
        line_rules_(world, &verdict_, &coverage),
        ending_rules_(world, &verdict_, &coverage) {
    if (world.poisoned) model_.PoisonToken(kPoison);
  }

  Outcome Run() {
    size_t arrived = 0, disturbed = 0;
    for (; verdict_.ok() && (arrived < world_.arrivals.size() || !live_.empty()); ++turn_) {
      while (arrived < world_.arrivals.size() && world_.arrivals[arrived].turn <= turn_) {
        Arrive(world_.arrivals[arrived++]);
      }
      while (disturbed < world_.disturbances.size() &&
             world_.disturbances[disturbed].turn <= turn_) {
        Disturb(world_.disturbances[disturbed++]);
      }
      if (!live_.empty()) Turn();
      clock_.Advance(world_.tick);
    }
    for (const Client& client : clients_) {
      verdict_.Require(client.reader == nullptr || client.reader.use_count() == 1,
                       "somebody keeps a reader that is done");
    }
    coverage_.cached += ledger_.cached;
    coverage_.recomputed += ledger_.told.recomputed;
    return {.failure = verdict_.failure(), .log = ledger_.log};
  }

 private:
  void Arrive(const Arrival& arrival) {
    Client& client = clients_[arrival.handle - 1];
    client = Client(arrival, world_.tick, {&tokenizer_, &ledger_, &verdict_}, clock_.Now());
    const absl::Status status = Submit(client);
    ending_rules_.CheckDoor(client, status, live_, stopped_);
    ledger_.Log(static_cast<uint64_t>(status.code()));
    if (!status.ok()) return;
    const auto* generate = std::get_if<GenerateRequest>(&arrival.request);
    coverage_.resumed += generate != nullptr && !generate->generated.empty();
    live_.push_back(&client);
    ExpectEnd(client.most_tokens);
  }

  // As the engine's door does.
  absl::Status Submit(Client& client) {
    RETURN_IF_ERROR(inbox_.CheckOpen());
    ASSIGN_OR_RETURN(std::unique_ptr<Task> task,
                     TaskOf(client, capacity_, {&tokenizer_, model_.description().expert_layers}));
    return inbox_.Add(std::move(task));
  }

  void Disturb(const Disturbance& disturbance) {
    using Kind = Disturbance::Kind;
    ExpectEnd(0);
    const bool of_request = disturbance.handle > 0;
    const bool is_there = of_request && disturbance.handle <= clients_.size();
    Client* const client = is_there ? &clients_[disturbance.handle - 1] : nullptr;
    const bool lives = is_there && client->reader != nullptr && !client->reader->done();
    if (of_request && !lives) return;
    switch (disturbance.kind) {
      case Kind::kCancel:
        client->cancelled = true;
        return inbox_.Cancel(disturbance.handle);
      case Kind::kReaderFallsBehind:
        return client->FallBehind(clock_.Now());
      case Kind::kReaderCatchesUp:
        client->CatchUp(clock_.Now());
        return inbox_.Wake();
      case Kind::kStepFails:
        return Break(HashModel::Fault::kFails);
      case Kind::kStepThrows:
        return Break(HashModel::Fault::kThrows);
      case Kind::kModelIsLost:
        return Break(HashModel::Fault::kIsLost);
      case Kind::kStop:
        stopped_ = true;
        inbox_.Close();
        return inbox_.EndAll(absl::UnavailableError("the server stops"));
      case Kind::kStepHangs:
      case Kind::kLoadFails:
      case Kind::kDeviceIsGone:
        return;  // there is nobody else to take over
    }
  }

  void Break(HashModel::Fault fault) {
    fault_ = fault;
    model_.BreakNextStep(fault);
  }

  void Turn() {
    now_ = clock_.Now();
    model_.TakeOpened();
    const bool was_stopped = stopped_;
    if (worker_.Turn()) {
      step_rules_.CheckTold(ledger_.last_step);
    } else {
      AfterAdmission();
      step_rules_.Pause();
      CheckNothingToDo(worker_.scheduler(), verdict_);
    }
    if (!verdict_.ok()) return;
    // Who ends with the step leaves the line at its end.
    line_rules_.AfterTurn(live_, worker_.scheduler().reservations(), clock_.Now());
    block_rules_.Check(worker_.scheduler());
    CheckCounts();
    ledger_.Check(verdict_);
    for (Client* const client : live_)
      ending_rules_.Check(*client, live_, now_, was_stopped, stopped_);
    live_.erase(std::remove_if(live_.begin(), live_.end(),
                               [](const Client* client) { return client->ended; }),
                live_.end());
    verdict_.Require(turn_ <= last_turn_, "a request never ends");
  }

  // In the middle of a turn: what the worker has chosen, before the model computes it.
  void BeforeStep(const StepInput& input) {
    AfterAdmission();
    step_rules_.Check(input, worker_.scheduler(), absl::MakeSpan(clients_), now_);
    block_rules_.Check(worker_.scheduler());
    if (!verdict_.ok()) return;
    step_rules_.ChargeDecodes(input, clients_, line_rules_);
    const auto fault = std::exchange(fault_, std::nullopt);
    step_rules_.MarkFailing(input, fault.has_value(), model_.TakeOpened(),
                            absl::MakeSpan(clients_));
    ledger_.broken_steps += fault.has_value();
    stopped_ |= fault == HashModel::Fault::kIsLost;
    size_t tokens = 0;
    for (const Chunk& chunk : input.chunks) {
      tokens += chunk.tokens.size();
      ledger_.Log(static_cast<uint64_t>(chunk.slot) << 48 | chunk.tokens.size() << 32 |
                  static_cast<uint64_t>(chunk.first_position) << 16 | chunk.blocks.back());
    }
    clock_.Advance(world_.step + static_cast<int64_t>(tokens) * world_.token);
  }

  void AfterAdmission() {
    for (Client* const client : live_) client->runs = false;
    MarkRunning(worker_.scheduler(), model_, absl::MakeSpan(clients_));
    for (Client* const client : live_) {
      if (client->reader->done()) continue;
      const uint32_t more = CountPreemptions(*client, world_, ledger_, verdict_);
      coverage_.preemptions += more;
      if (more > 0) ExpectEnd(client->most_tokens);
    }
    line_rules_.AfterAdmission(live_, worker_.scheduler().reservations(), now_);
  }

  // How things stand, to whoever asks.
  void CheckCounts() {
    int32_t waiting = 0;
    int64_t prompt_tokens = 0;
    for (const Client* const client : live_) {
      if (client->line.admitted || client->reader->done()) continue;
      ++waiting;
      prompt_tokens += client->prompt_tokens;
    }
    verdict_.Require(inbox_.num_waiting() == waiting, waiting, " requests wait, ",
                     inbox_.num_waiting(), " are said to");
    verdict_.Require(inbox_.waiting_prompt_tokens() == prompt_tokens, "prompts of ", prompt_tokens,
                     " tokens wait, of ", inbox_.waiting_prompt_tokens(), " are said to");
    CheckStatus(worker_, model_, verdict_);
  }

  // Every turn computes something of somebody, unless all that run have readers that are behind,
  // each of which is given up in time.
  void ExpectEnd(int64_t more_tokens) {
    most_tokens_ += more_tokens;
    const int64_t timeout = absl::ToInt64Milliseconds(world_.slow_reader_timeout) /
                            std::max<int64_t>(absl::ToInt64Milliseconds(world_.tick), 1);
    const auto readers = static_cast<int64_t>(live_.size());
    last_turn_ = turn_ + most_tokens_ + readers * (timeout + 2) + 2;
  }

  const World& world_;
  Coverage& coverage_;
  const EngineCapacity capacity_;
  Verdict verdict_;
  Ledger ledger_;
  SteppedClock clock_;
  FakeTokenizer tokenizer_;
  std::vector<Client> clients_;  // by handle - 1
  std::vector<Client*> live_;
  Watcher watcher_;
  HashModel model_;
  Inbox inbox_;
  Worker worker_;
  StepRules step_rules_;
  BlockRules block_rules_;
  LineRules line_rules_;
  EndingRules ending_rules_;

  int64_t turn_ = 0;
  int64_t last_turn_ = 0;
  int64_t most_tokens_ = 0;
  absl::Time now_;  // of the turn
  std::optional<HashModel::Fault> fault_;
  bool stopped_ = false;
};

}  // namespace

Outcome Simulate(const World& world, Coverage& coverage) {
  if (world.workers > 0) return SimulateWorkers(world, coverage);
  return Simulation(world, coverage).Run();
}

}  // namespace peerage
