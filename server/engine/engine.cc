#include "server/engine/engine.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>

#include "base/status_macros.h"
#include "server/engine/demand.h"
#include "server/engine/request_queue.h"
#include "server/engine/submission.h"
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

RequestKind KindOf(const GenerateRequest&) { return RequestKind::kGenerate; }
RequestKind KindOf(const ScoreRequest&) { return RequestKind::kScore; }

}  // namespace

class Engine::Core {
 public:
  Core(const EngineOptions& options, std::unique_ptr<LanguageModel> model,
       const Tokenizer* tokenizer, const Clock* clock, EngineObserver* observer)
      : description_(model->description()),
        supply_{.capacity = model->capacity(),
                .context_length = description_.context_length,
                .max_sequences = options.max_sequences},
        clock_(clock),
        observer_(observer),
        model_(std::move(model)),
        queue_(options.max_queued_requests, clock),
        worker_({.model = model_.get(),
                 .tokenizer = tokenizer,
                 .clock = clock,
                 .observer = observer,
                 .queue = &queue_,
                 .every_turn = options.every_turn},
                MakeSchedulerOptions(options, supply_.capacity)),
        thread_([this] { worker_.Run(); }) {}

  ~Core() { Stop(); }

  void Stop() {
    if (!thread_.joinable()) return;
    queue_.Close();
    queue_.CancelAll(absl::UnavailableError("the server is stopping"));
    queue_.Shutdown();
    thread_.join();
  }

  template <typename Request>
  absl::StatusOr<RequestHandle> Submit(Request request, std::shared_ptr<ResponseSink> sink) {
    const absl::Time now = clock_->Now();
    SchedulingParams& scheduling = request.scheduling;
    if (scheduling.arrival == absl::InfinitePast()) scheduling.arrival = now;
    RequestEvent refusal{.kind = KindOf(request), .total = now - scheduling.arrival};

    absl::StatusOr<RequestHandle> handle = Enqueue(std::move(request), std::move(sink), now);
    if (handle.ok()) {
      observer_->OnQueueChanged(worker_.status().requests_running, queue_.num_waiting());
    } else {
      refusal.code = handle.status().code();
      observer_->OnRequestDone(refusal);
    }
    return handle;
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
            .kv_blocks_total = supply_.capacity.num_blocks,
            .kv_blocks_free = worker.kv_blocks_free,
            .steps = worker.steps,
            .draining = queue_.closed()};
  }

  RequestQueue& queue() { return queue_; }
  const ModelDescription& description() const { return description_; }
  const ModelCapacity& capacity() const { return supply_.capacity; }

 private:
  template <typename Request>
  absl::StatusOr<RequestHandle> Enqueue(Request request, std::shared_ptr<ResponseSink> sink,
                                        absl::Time now) {
    if (queue_.closed()) return absl::UnavailableError("the server is draining");
    RETURN_IF_ERROR(CheckMayStart(request.scheduling, now));
    RETURN_IF_ERROR(CheckFits(request, supply_));
    const RequestHandle handle = ++last_handle_;
    const Demand demand = DemandOf(request, supply_.capacity.block_tokens);
    RETURN_IF_ERROR(queue_.Add({handle, std::move(request), std::move(sink), demand}));
    return handle;
  }

  const ModelDescription description_;
  const Supply supply_;
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
  return core_->Submit(std::move(request), std::move(sink));
}

absl::StatusOr<RequestHandle> Engine::Submit(ScoreRequest request,
                                             std::shared_ptr<ResponseSink> sink) {
  return core_->Submit(std::move(request), std::move(sink));
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

const ModelCapacity& Engine::capacity() const { return core_->capacity(); }

}  // namespace peerage
