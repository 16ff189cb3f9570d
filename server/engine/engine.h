#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "model/language_model.h"
#include "model/tokenizer/tokenizer.h"
#include "server/engine/admission_policy.h"
#include "server/engine/clock.h"
#include "server/engine/engine_status.h"
#include "server/engine/observer.h"
#include "server/engine/replica.h"
#include "server/engine/request.h"
#include "server/engine/response_sink.h"

namespace peerage {

struct EngineOptions {
  int32_t max_batch_tokens = 512;         // per step of a worker
  int32_t max_sequences = 64;             // computed at the same time by a worker
  int32_t max_queued_requests = 256;      // waiting to start, of all workers: each has its part
  int64_t max_queued_tokens = INT64_MAX;  // that they bring
  absl::Duration slow_reader_timeout = absl::Seconds(5);
  bool prefix_cache = true;  // whether computed blocks are kept for who begins alike
  Admission admission = Admission::kReserve;
  // A step that takes as long ends its requests, and its model is replaced.
  absl::Duration step_timeout = absl::InfiniteDuration();
  // As in ReplicaOptions. What hangs and cannot be replaced is lost.
  RebuildModel rebuild = nullptr;
  std::function<void(int worker)> on_model_gone = nullptr;
  // Run by each worker at the beginning of each of its turns with a model, before its tasks and its
  // step: for what keeps pace with the model. May be null.
  WorkerTask every_turn = nullptr;
  // Told once, by a worker or the watchdog, that the last of the models is lost
  // (EngineStatus::lost); must not block. May be null.
  std::function<void(const absl::Status&)> on_lost = nullptr;
  // Whether RequestEvent tells of distinct experts. The model must have been loaded with traces.
  bool count_distinct_experts = false;
};

// The door to one or more workers, each with a model of its own that is like the others': a request
// becomes batches and steps of one of them, whichever it is with the same answer.
//
// Threads: safe from many threads, the destructor apart, which stops the engine.
class Engine {
 public:
  // `tokenizer`, `clock` and `observer` must outlive the engine.
  Engine(const EngineOptions& options, std::vector<std::unique_ptr<LanguageModel>> models,
         const Tokenizer* tokenizer, const Clock* clock, EngineObserver* observer);
  // With one worker.
  Engine(const EngineOptions& options, std::unique_ptr<LanguageModel> model,
         const Tokenizer* tokenizer, const Clock* clock, EngineObserver* observer);
  ~Engine();

  // Admission. On success the sink gets exactly one OnDone; on an error it gets nothing.
  // UNAVAILABLE while draining and once lost, DEADLINE_EXCEEDED when already late, OUT_OF_RANGE for
  // what can never fit (context length, KV blocks, sequences), RESOURCE_EXHAUSTED, with a retry
  // delay (retry_delay.h), when the queue is full.
  absl::StatusOr<RequestHandle> Submit(GenerateRequest request, std::shared_ptr<ResponseSink> sink);
  absl::StatusOr<RequestHandle> Submit(ScoreRequest request, std::shared_ptr<ResponseSink> sink);

  // The request leaves within one step, its sink gets CANCELLED. Nothing happens when it is gone.
  void Cancel(RequestHandle handle);

  // To be called when a sink has room again: its request may then go on. Workers look at the clock,
  // too.
  void Wake();

  // Runs `task` on the thread of each worker, which alone touches its model, between two steps, at
  // the same time as on the others'. Once accepted, it is run by all, whatever else ends.
  // UNAVAILABLE after Stop: then it may be run by some.
  absl::Status RunOnWorkers(const WorkerTask& task);
  // For whoever runs tasks because clients ask, who may be many: RESOURCE_EXHAUSTED, with a retry
  // delay, where many tasks wait for a worker already.
  absl::Status CheckTaskRoom() const;

  // Stops admission and returns once every request has ended. What has not at `deadline` ends with
  // UNAVAILABLE, for which the step that runs may take kLastStep. False when it takes longer: the
  // model hangs, and so would Stop. Steps that were ended by `step_timeout` are not waited for.
  // Idempotent; safe from several threads.
  static constexpr absl::Duration kLastStep = absl::Seconds(1);
  bool Drain(absl::Time deadline);

  // Stops admission and returns at once.
  void StopAdmission();

  // Ends every request with UNAVAILABLE, runs the tasks that were accepted, and joins the workers,
  // after the model that one of them may be loading (EngineStatus::loads): afterwards the engine
  // calls nobody, but may still be called. Idempotent; from one thread.
  void Stop();

  // `told` is whether status().ready(), at once and after each change, one call at a time; must not
  // block. Null: nobody is told any more, nor still being told.
  void WatchReadiness(std::function<void(bool ready)> told);

  int num_workers() const;
  EngineStatus status() const;
  const ModelDescription& model() const;

 private:
  class Core;
  std::unique_ptr<Core> core_;
};

}  // namespace peerage
