#include "server/engine/engine.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "base/status_macros.h"
#include "server/engine/admission.h"
#include "server/engine/generate_delivery.h"
#include "server/engine/replica.h"
#include "server/engine/score_delivery.h"
#include "server/engine/task.h"

namespace peerage {
namespace {

EngineCapacity CapacityOf(const LanguageModel& model, const EngineOptions& options) {
  const ModelCapacity& capacity = model.capacity();
  return {.model = capacity,
          .context_length = model.description().context_length,
          .max_sequences = std::min(options.max_sequences, capacity.num_slots)};
}

SchedulerOptions MakeSchedulerOptions(const EngineOptions& options,
                                      const EngineCapacity& capacity) {
  return {.max_batch_tokens = std::min(options.max_batch_tokens, capacity.model.max_step_tokens),
          .max_sequences = capacity.max_sequences,
          .num_blocks = capacity.model.num_blocks,
          .block_tokens = capacity.model.block_tokens,
          .slow_reader_timeout = options.slow_reader_timeout,
          .prefix_cache = options.prefix_cache,
          .admission = options.admission};
}

int64_t PromptTokens(const GenerateRequest& request) {
  return static_cast<int64_t>(request.prompt.size() + request.generated.size());
}
int64_t PromptTokens(const ScoreRequest& request) {
  return static_cast<int64_t>(request.context.size());
}

}  // namespace

class Engine::Core {
 public:
  Core(const EngineOptions& options, std::unique_ptr<LanguageModel> model,
       const Tokenizer* tokenizer, const Clock* clock, EngineObserver* observer)
      : description_(model->description()),
        capacity_(CapacityOf(*model, options)),
        facts_{.tokenizer = tokenizer, .expert_layers = description_.expert_layers},
        clock_(clock),
        observer_(observer),
        replica_(std::move(model),
                 {.clock = clock,
                  .observer = observer,
                  .every_turn = options.every_turn,
                  .on_lost = options.on_lost,
                  .count_distinct_experts = options.count_distinct_experts},
                 MakeSchedulerOptions(options, capacity_),
                 {options.max_queued_requests, options.max_queued_tokens}) {}

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
    inbox().Close();
    if (inbox().WaitUntilAllDone(deadline)) return true;
    inbox().EndAll(absl::UnavailableError("the server stopped before the request was finished"));
    return inbox().WaitUntilAllDone(deadline + kLastStep);
  }

  EngineStatus status() const {
    const WorkerStatus worker = replica_.status();
    const int32_t waiting = replica_.inbox().num_waiting();
    return {.requests_waiting = waiting,
            .waiting_for_slots = worker.front_lacks == Lack::kSequences ? waiting : 0,
            .waiting_for_blocks = worker.front_lacks == Lack::kBlocks ? waiting : 0,
            .waiting_for_fairness = worker.front_lacks == Lack::kNothing ? waiting : 0,
            .share_gap = worker.share_gap,
            .waiting_prompt_tokens = replica_.inbox().waiting_prompt_tokens(),
            .requests_running = worker.requests_running,
            .requests_parked = worker.requests_parked,
            .kv_blocks_total = capacity_.model.num_blocks,
            .kv_blocks_free = worker.kv_blocks_free,
            .kv_blocks_cached = worker.kv_blocks_cached,
            .prefix_queried_tokens = worker.prefix_queried_tokens,
            .prefix_hit_tokens = worker.prefix_hit_tokens,
            .preemptions = worker.preemptions,
            .steps = worker.steps,
            .last_turn = worker.last_turn,
            .draining = replica_.inbox().closed(),
            .lost = worker.lost};
  }

  void Stop() { replica_.Stop(); }
  Inbox& inbox() { return replica_.inbox(); }
  const ModelDescription& description() const { return description_; }

 private:
  template <typename RequestDelivery>
  absl::StatusOr<RequestHandle> Admit(std::unique_ptr<RequestDelivery> delivery, absl::Time now) {
    const auto& request = delivery->request();
    RETURN_IF_ERROR(inbox().CheckOpen());
    RETURN_IF_ERROR(CheckMayStart(request.scheduling, now));
    RETURN_IF_ERROR(CheckFits(request, capacity_));
    auto task = std::make_unique<Task>(++last_handle_, request.scheduling, WorkOf(request),
                                       capacity_.model.block_tokens);
    RETURN_IF_ERROR(CheckFits(task->needs, capacity_));
    task->prompt_tokens = PromptTokens(request);
    task->delivery = std::move(delivery);
    const RequestHandle handle = task->handle;
    RETURN_IF_ERROR(inbox().Add(std::move(task)));
    return handle;
  }

  const ModelDescription description_;
  const EngineCapacity capacity_;
  const ModelFacts facts_;  // refers to description_
  const Clock* const clock_;
  EngineObserver* const observer_;
  std::atomic<RequestHandle> last_handle_ = 0;
  Replica replica_;
};

Engine::Engine(const EngineOptions& options, std::unique_ptr<LanguageModel> model,
               const Tokenizer* tokenizer, const Clock* clock, EngineObserver* observer)
    : core_(std::make_unique<Core>(options, std::move(model), tokenizer, clock, observer)) {}

Engine::~Engine() = default;

absl::StatusOr<RequestHandle> Engine::Submit(GenerateRequest request,
                                             std::shared_ptr<ResponseSink> sink) {
  return core_->Submit<GenerateDelivery>(std::move(request), std::move(sink));
}

absl::StatusOr<RequestHandle> Engine::Submit(ScoreRequest request,
                                             std::shared_ptr<ResponseSink> sink) {
  return core_->Submit<ScoreDelivery>(std::move(request), std::move(sink));
}

void Engine::Cancel(RequestHandle handle) { core_->inbox().Cancel(handle); }

void Engine::Wake() { core_->inbox().Wake(); }

absl::Status Engine::RunOnWorker(WorkerTask task) { return core_->inbox().Run(std::move(task)); }

bool Engine::Drain(absl::Time deadline) { return core_->Drain(deadline); }

void Engine::StopAdmission() { core_->inbox().Close(); }

void Engine::Stop() { core_->Stop(); }

EngineStatus Engine::status() const { return core_->status(); }

const ModelDescription& Engine::model() const { return core_->description(); }

}  // namespace peerage
