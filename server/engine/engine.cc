#include "server/engine/engine.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>

#include "base/status_macros.h"
#include "server/engine/generation.h"
#include "server/engine/request_queue.h"
#include "server/engine/scoring.h"
#include "server/engine/worker.h"

namespace peerage {
namespace {

SchedulerOptions MakeSchedulerOptions(const EngineOptions& options, const ModelCapacity& capacity) {
  return {.max_batch_tokens = std::min(options.max_batch_tokens, capacity.max_step_tokens),
          .max_sequences = options.max_sequences,
          .num_slots = capacity.num_slots,
          .num_blocks = capacity.num_blocks,
          .block_tokens = capacity.block_tokens,
          .slow_reader_timeout = options.slow_reader_timeout};
}

}  // namespace

class Engine::Core {
 public:
  Core(const EngineOptions& options, std::unique_ptr<LanguageModel> model,
       const Tokenizer* tokenizer, const Clock* clock, EngineObserver* observer)
      : description_(model->description()),
        capacity_{.model = model->capacity(),
                  .context_length = description_.context_length,
                  .max_sequences = options.max_sequences},
        facts_{.tokenizer = tokenizer,
               .expert_layers = description_.expert_layers,
               .block_tokens = capacity_.model.block_tokens},
        clock_(clock),
        observer_(observer),
        model_(std::move(model)),
        queue_(options.max_queued_requests, clock),
        worker_({.model = model_.get(),
                 .clock = clock,
                 .observer = observer,
                 .queue = &queue_,
                 .every_turn = options.every_turn,
                 .on_lost = options.on_lost,
                 .count_distinct_experts = options.count_distinct_experts},
                MakeSchedulerOptions(options, capacity_.model)),
        thread_([this] { worker_.Run(); }) {}

  ~Core() { Stop(); }

  void Stop() {
    if (!thread_.joinable()) return;
    queue_.Close();
    queue_.CancelAll(absl::UnavailableError("the server is stopping"));
    queue_.Shutdown();
    thread_.join();
  }

  // The only place where Generate and Score are told apart: from here on, Running is a
  // RunningRequest.
  template <typename Running, typename Request>
  absl::StatusOr<RequestHandle> Submit(Request request, std::shared_ptr<ResponseSink> sink) {
    const absl::Time now = clock_->Now();
    SchedulingParams& scheduling = request.scheduling;
    if (scheduling.arrival == absl::InfinitePast()) scheduling.arrival = now;
    return Enqueue(
        std::make_unique<Running>(++last_handle_, std::move(request), std::move(sink), facts_),
        now);
  }

  void Drain(absl::Time deadline) {
    queue_.Close();
    if (queue_.WaitUntilAllDone(deadline)) return;
    queue_.CancelAll(absl::UnavailableError("the server stopped before the request was finished"));
    queue_.WaitUntilAllDone(absl::InfiniteFuture());
  }

  EngineStatus status() const {
    const WorkerStatus worker = worker_.status();
    return {.requests_waiting = queue_.num_waiting(),
            .requests_running = worker.requests_running,
            .kv_blocks_total = capacity_.model.num_blocks,
            .kv_blocks_free = worker.kv_blocks_free,
            .steps = worker.steps,
            .last_turn = worker.last_turn,
            .draining = queue_.closed(),
            .lost = worker.lost};
  }

  RequestQueue& queue() { return queue_; }
  const ModelDescription& description() const { return description_; }

 private:
  absl::StatusOr<RequestHandle> Enqueue(std::unique_ptr<RunningRequest> request, absl::Time now) {
    const RequestHandle handle = request->handle();
    RequestEvent refusal = request->Usage();
    refusal.total = now - request->timeline().arrival;
    if (absl::Status status = Admit(std::move(request), now); !status.ok()) {
      refusal.code = status.code();
      refusal.error = std::string(status.message());
      refusal.unfinished_candidates = 0;  // they never began
      observer_->OnRequestDone(refusal);
      return status;
    }
    observer_->OnQueueChanged(worker_.status().requests_running, queue_.num_waiting());
    return handle;
  }

  absl::Status Admit(std::unique_ptr<RunningRequest> request, absl::Time now) {
    RETURN_IF_ERROR(queue_.CheckOpen());
    RETURN_IF_ERROR(CheckMayStart(request->scheduling(), now));
    RETURN_IF_ERROR(CheckFits(*request, capacity_));
    return queue_.Add(std::move(request));
  }

  const ModelDescription description_;
  const EngineCapacity capacity_;
  const ModelFacts facts_;  // refers to description_
  const Clock* const clock_;
  EngineObserver* const observer_;
  const std::unique_ptr<LanguageModel> model_;  // the worker's
  std::atomic<RequestHandle> last_handle_ = 0;
  RequestQueue queue_;
  Worker worker_;
  std::thread thread_;
};

Engine::Engine(const EngineOptions& options, std::unique_ptr<LanguageModel> model,
               const Tokenizer* tokenizer, const Clock* clock, EngineObserver* observer)
    : core_(std::make_unique<Core>(options, std::move(model), tokenizer, clock, observer)) {}

Engine::~Engine() = default;

absl::StatusOr<RequestHandle> Engine::Submit(GenerateRequest request,
                                             std::shared_ptr<ResponseSink> sink) {
  return core_->Submit<Generation>(std::move(request), std::move(sink));
}

absl::StatusOr<RequestHandle> Engine::Submit(ScoreRequest request,
                                             std::shared_ptr<ResponseSink> sink) {
  return core_->Submit<Scoring>(std::move(request), std::move(sink));
}

void Engine::Cancel(RequestHandle handle) { core_->queue().Cancel(handle); }

void Engine::Wake() { core_->queue().Wake(); }

absl::Status Engine::RunOnWorker(WorkerTask task) {
  return core_->queue().RunOnWorker(std::move(task));
}

void Engine::Drain(absl::Time deadline) { core_->Drain(deadline); }

void Engine::StopAdmission() { core_->queue().Close(); }

void Engine::Stop() { core_->Stop(); }

EngineStatus Engine::status() const { return core_->status(); }

const ModelDescription& Engine::model() const { return core_->description(); }

}  // namespace peerage
