#include "server/engine/engine.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "server/engine/admission.h"
#include "server/engine/generate_delivery.h"
#include "server/engine/replica.h"
#include "server/engine/router.h"
#include "server/engine/score_delivery.h"
#include "server/engine/task.h"
#include "server/engine/watchdog.h"

namespace peerage {
namespace {

using Models = std::vector<std::unique_ptr<LanguageModel>>;

// What every worker has.
EngineCapacity CapacityOf(const Models& models, const EngineOptions& options) {
  ModelCapacity capacity = models.front()->capacity();
  for (const auto& model : models) {
    capacity.num_blocks = std::min(capacity.num_blocks, model->capacity().num_blocks);
  }
  return {.model = capacity,
          .context_length = models.front()->description().context_length,
          .max_sequences = std::min(options.max_sequences, capacity.num_slots)};
}

SchedulerOptions MakeSchedulerOptions(const EngineOptions& options, const EngineCapacity& capacity,
                                      const LanguageModel& model) {
  return {.max_batch_tokens = std::min(options.max_batch_tokens, capacity.model.max_step_tokens),
          .max_sequences = capacity.max_sequences,
          .num_blocks = model.capacity().num_blocks,
          .block_tokens = capacity.model.block_tokens,
          .slow_reader_timeout = options.slow_reader_timeout,
          .prefix_cache = options.prefix_cache,
          .admission = options.admission};
}

// Together the workers let as much wait as one would alone, and each something.
template <typename Count>
Count PartOf(Count limit, int worker, int workers) {
  return std::max<Count>(limit / workers + (worker < limit % workers ? 1 : 0), 1);
}

std::vector<std::unique_ptr<LanguageModel>> Single(std::unique_ptr<LanguageModel> model) {
  Models models;
  models.push_back(std::move(model));
  return models;
}

int64_t PromptTokens(const GenerateRequest& request) {
  return static_cast<int64_t>(request.prompt.size() + request.generated.size());
}
int64_t PromptTokens(const ScoreRequest& request) {
  size_t tokens = request.context.size();
  for (const auto& continuation : request.continuations) tokens += continuation.size();
  return static_cast<int64_t>(tokens);
}

}  // namespace

class Engine::Core {
 public:
  Core(const EngineOptions& options, Models models, const Tokenizer* tokenizer, const Clock* clock,
       EngineObserver* observer)
      : description_(models.front()->description()),
        capacity_(CapacityOf(models, options)),
        facts_{.tokenizer = tokenizer, .expert_layers = description_.expert_layers},
        clock_(clock),
        observer_(observer),
        router_(static_cast<int>(models.size()), capacity_.model.block_tokens,
                options.max_batch_tokens / 2) {
    const int workers = static_cast<int>(models.size());
    std::vector<Replica*> replicas;
    for (int i = 0; i < workers; ++i) {
      replicas_.push_back(MakeReplica(options, std::move(models[i]), i, workers));
      replicas.push_back(replicas_.back().get());
    }
    if (options.step_timeout == absl::InfiniteDuration()) return;
    watchdog_.emplace(clock, options.step_timeout, std::move(replicas));
  }

  // The only place where Generate and Score are told apart: from here on, they are tasks with
  // deliveries.
  template <typename RequestDelivery, typename Request>
  absl::StatusOr<RequestHandle> Submit(Request request, std::shared_ptr<ResponseSink> sink) {
    const absl::Time now = clock_->Now();
    absl::Time& arrival = request.scheduling.arrival;
    if (arrival == absl::InfinitePast()) arrival = now;
    auto delivery = std::make_unique<RequestDelivery>(std::move(request), std::move(sink), facts_);
    RequestEvent refusal = delivery->Usage();
    refusal.total = now - delivery->timeline().arrival;
    absl::StatusOr<RequestHandle> handle = Admit(std::move(delivery), now);
    if (!handle.ok()) {
      refusal.code = handle.status().code();
      refusal.error = std::string(handle.status().message());
      refusal.unfinished_candidates = 0;  // they never began
      observer_->OnRequestDone(refusal);
      return handle;
    }
    return handle;
  }

  bool Drain(absl::Time deadline) {
    CloseAll();
    if (WaitUntilAllDone(deadline)) return true;
    const auto status =
        absl::UnavailableError("the server stopped before the request was finished");
    for (const auto& replica : replicas_) replica->inbox().EndAll(status);
    return WaitUntilAllDone(deadline + kLastStep);
  }

  EngineStatus status() const {
    EngineStatus status{.last_turn = absl::InfiniteFuture(), .draining = true};
    for (const auto& replica : replicas_) {
      const WorkerStatus& worker = status.workers.emplace_back(replica->status());
      Add(worker, status);
      status.draining = status.draining && replica->inbox().closed();
    }
    const auto is_lost = [](const WorkerStatus& worker) { return !worker.lost.ok(); };
    if (std::all_of(status.workers.begin(), status.workers.end(), is_lost)) {
      status.lost = status.workers.back().lost;
    }
    return status;
  }

  void Cancel(RequestHandle handle) { router_.Cancel(handle); }

  void Wake() {
    for (const auto& replica : replicas_) replica->inbox().Wake();
  }

  absl::Status RunOnWorkers(const WorkerTask& task) {
    for (const auto& replica : replicas_) RETURN_IF_ERROR(replica->inbox().Run(task));
    return absl::OkStatus();
  }

  absl::Status CheckTaskRoom() const {
    for (const auto& replica : replicas_) RETURN_IF_ERROR(replica->inbox().CheckErrandRoom());
    return absl::OkStatus();
  }

  void CloseAll() {
    for (const auto& replica : replicas_) replica->inbox().Close();
    TellReadiness();
  }

  void WatchReadiness(std::function<void(bool)> told) {
    {
      absl::MutexLock lock(&readiness_mu_);
      told_of_readiness_ = std::move(told);
    }
    TellReadiness();
  }

  void Stop() {
    CloseAll();
    router_.StopMoving();
    watchdog_.reset();
    const auto status = absl::UnavailableError("the server is stopping");
    for (const auto& replica : replicas_) replica->inbox().EndAll(status);
    for (const auto& replica : replicas_) replica->Stop();
  }

  int num_workers() const { return static_cast<int>(replicas_.size()); }
  const ModelDescription& description() const { return description_; }

 private:
  template <typename RequestDelivery>
  absl::StatusOr<RequestHandle> Admit(std::unique_ptr<RequestDelivery> delivery, absl::Time now) {
    const auto& request = delivery->request();
    RETURN_IF_ERROR(router_.CheckOpen());
    RETURN_IF_ERROR(CheckMayStart(request.scheduling, now));
    RETURN_IF_ERROR(CheckFits(request, capacity_));
    auto task = std::make_unique<Task>(++last_handle_, request.scheduling, WorkOf(request),
                                       capacity_.model.block_tokens);
    RETURN_IF_ERROR(CheckFits(task->needs, capacity_));
    task->prompt_tokens = PromptTokens(request);
    task->delivery = std::move(delivery);
    const RequestHandle handle = task->handle;
    RETURN_IF_ERROR(router_.Submit(std::move(task)));
    return handle;
  }

  std::unique_ptr<Replica> MakeReplica(const EngineOptions& options,
                                       std::unique_ptr<LanguageModel> model, int worker,
                                       int workers) {
    const WorkerParts parts{.index = worker,
                            .clock = clock_,
                            .observer = observer_,
                            .every_turn = options.every_turn,
                            .count_distinct_experts = options.count_distinct_experts};
    ReplicaOptions own{.scheduler = MakeSchedulerOptions(options, capacity_, *model),
                       .inbox = {PartOf(options.max_queued_requests, worker, workers),
                                 PartOf(options.max_queued_tokens, worker, workers)},
                       .rebuild = options.rebuild,
                       .on_model_gone = options.on_model_gone,
                       .on_all_lost = options.on_lost,
                       .on_state = [this] { TellReadiness(); }};
    return std::make_unique<Replica>(std::move(model), parts, std::move(own), &router_);
  }

  // Requests may move while they are waited for, so one look at each is not enough.
  bool WaitUntilAllDone(absl::Time deadline) {
    do {
      for (const auto& replica : replicas_) {
        if (!replica->inbox().WaitUntilAllDone(deadline)) return false;
      }
    } while (!router_.AllDone());
    return true;
  }

  // What holds last is told last.
  void TellReadiness() {
    absl::MutexLock lock(&readiness_mu_);
    if (told_of_readiness_) told_of_readiness_(status().ready());
  }

  static void Add(const WorkerStatus& worker, EngineStatus& sum) {
    const int32_t waiting = worker.requests_waiting;
    sum.requests_waiting += waiting;
    sum.waiting_for_slots += worker.front_lacks == Lack::kSequences ? waiting : 0;
    sum.waiting_for_blocks += worker.front_lacks == Lack::kBlocks ? waiting : 0;
    sum.waiting_for_fairness += worker.front_lacks == Lack::kNothing ? waiting : 0;
    sum.share_gap = std::max(sum.share_gap, worker.share_gap);
    sum.waiting_prompt_tokens += worker.waiting_prompt_tokens;
    sum.requests_running += worker.requests_running;
    sum.requests_parked += worker.requests_parked;
    sum.kv_blocks_total += worker.kv_blocks_total;
    sum.kv_blocks_free += worker.kv_blocks_free;
    sum.kv_blocks_cached += worker.kv_blocks_cached;
    sum.prefix_queried_tokens += worker.prefix_queried_tokens;
    sum.prefix_hit_tokens += worker.prefix_hit_tokens;
    sum.preemptions += worker.preemptions;
    sum.steps += worker.steps;
    sum.hangs = sum.hangs || worker.hangs;
    sum.loads_since = std::min(sum.loads_since, worker.loads_since);
    sum.last_turn = std::min(sum.last_turn, worker.last_turn);
  }

  const ModelDescription description_;
  const EngineCapacity capacity_;
  const ModelFacts facts_;  // refers to description_
  const Clock* const clock_;
  EngineObserver* const observer_;
  std::atomic<RequestHandle> last_handle_ = 0;
  absl::Mutex readiness_mu_;
  std::function<void(bool)> told_of_readiness_ ABSL_GUARDED_BY(readiness_mu_);
  Router router_;
  std::vector<std::unique_ptr<Replica>> replicas_;
  std::optional<Watchdog> watchdog_;  // ends before what it watches
};

Engine::Engine(const EngineOptions& options, std::vector<std::unique_ptr<LanguageModel>> models,
               const Tokenizer* tokenizer, const Clock* clock, EngineObserver* observer)
    : core_(std::make_unique<Core>(options, std::move(models), tokenizer, clock, observer)) {}

Engine::Engine(const EngineOptions& options, std::unique_ptr<LanguageModel> model,
               const Tokenizer* tokenizer, const Clock* clock, EngineObserver* observer)
    : Engine(options, Single(std::move(model)), tokenizer, clock, observer) {}

Engine::~Engine() { Stop(); }

absl::StatusOr<RequestHandle> Engine::Submit(GenerateRequest request,
                                             std::shared_ptr<ResponseSink> sink) {
  return core_->Submit<GenerateDelivery>(std::move(request), std::move(sink));
}

absl::StatusOr<RequestHandle> Engine::Submit(ScoreRequest request,
                                             std::shared_ptr<ResponseSink> sink) {
  return core_->Submit<ScoreDelivery>(std::move(request), std::move(sink));
}

void Engine::Cancel(RequestHandle handle) { core_->Cancel(handle); }

void Engine::Wake() { core_->Wake(); }

absl::Status Engine::RunOnWorkers(const WorkerTask& task) { return core_->RunOnWorkers(task); }

absl::Status Engine::CheckTaskRoom() const { return core_->CheckTaskRoom(); }

bool Engine::Drain(absl::Time deadline) { return core_->Drain(deadline); }

void Engine::StopAdmission() { core_->CloseAll(); }

void Engine::Stop() { core_->Stop(); }

void Engine::WatchReadiness(std::function<void(bool)> told) {
  core_->WatchReadiness(std::move(told));
}

int Engine::num_workers() const { return core_->num_workers(); }

EngineStatus Engine::status() const { return core_->status(); }

const ModelDescription& Engine::model() const { return core_->description(); }

}  // namespace peerage
