#include "server/engine/worker.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace peerage {

Worker::Worker(const WorkerParts& parts, const SchedulerOptions& options)
    : parts_(parts), scheduler_(options) {
  absl::MutexLock lock(&mu_);
  status_.kv_blocks_free = scheduler_.num_free_blocks();
}

void Worker::Run() {
  while (!parts_.queue->finished()) {
    if (!Turn()) parts_.queue->WaitForNews(scheduler_.NextExpiry());
  }
}

bool Worker::Turn() {
  const absl::Time now = parts_.clock->Now();
  if (parts_.every_turn) parts_.every_turn(now);
  Take(now);
  const Batch& batch = scheduler_.Schedule(/*requests_wait=*/parts_.queue->num_waiting() > 0);
  for (const Sequence* sequence : batch.started) Open(*sequence);
  if (batch.chunks.empty()) return false;

  const absl::StatusOr<StepOutput> output = Step(batch, now);
  const absl::Time end = parts_.clock->Now();
  const StepEvent event = Describe(batch, end - now);
  Deliver(batch, output, end);
  FinishSequences();
  RemoveDone();
  ReportStep(event);
  AnnounceEnded(end);
  return true;
}

WorkerStatus Worker::status() const {
  absl::MutexLock lock(&mu_);
  return status_;
}

void Worker::Take(absl::Time now) {
  QueueNews news = parts_.queue->TakeNews(now);
  for (const WorkerTask& task : news.tasks) task(now);
  ended_ = std::move(news.ended);
  AnnounceEnded(now);
  RemoveLeaving(news, now);
  const auto fits = [this](const RunningRequest& next) { return scheduler_.Fits(next.needs()); };
  while (std::unique_ptr<RunningRequest> next = parts_.queue->TakeFrontIf(fits)) {
    Admit(std::move(next), now);
  }
  ReportCounts();
  AnnounceEnded(now);
}

void Worker::RemoveLeaving(const QueueNews& news, absl::Time now) {
  for (size_t i = 0; i < scheduler_.running().size();) {
    RunningRequest& request = *scheduler_.running()[i];
    request.UpdateParking(now);
    absl::Status status = CheckMayContinue(request, news, now);
    if (status.ok()) {
      ++i;
    } else {
      Remove(request, std::move(status));
    }
  }
}

absl::Status Worker::CheckMayContinue(const RunningRequest& request, const QueueNews& news,
                                      absl::Time now) const {
  RETURN_IF_ERROR(news.cancel_all);
  const auto& cancelled = news.cancelled;
  if (std::find(cancelled.begin(), cancelled.end(), request.handle()) != cancelled.end()) {
    return absl::CancelledError("the request was cancelled");
  }
  return scheduler_.CheckMayContinue(request, now);
}

void Worker::Admit(std::unique_ptr<RunningRequest> request, absl::Time now) {
  RunningRequest& running = scheduler_.Admit(std::move(request));
  if (running.HasMoreSequences()) return;
  running.Begin(now);  // nothing to compute: continuations of one token without a context
  Remove(running, absl::OkStatus());
}

void Worker::Open(const Sequence& sequence) {
  if (sequence.parent != nullptr) {
    parts_.model->Fork(sequence.parent->slot, sequence.slot, sequence.index);
  } else {
    const RunningRequest& request = *sequence.request;
    parts_.model->Open(sequence.slot, request.sampling(), request.prompt());
  }
}

absl::StatusOr<StepOutput> Worker::Step(const Batch& batch, absl::Time now) {
  step_.Clear();
  for (const auto& [sequence, tokens] : batch.chunks) {
    if (!sequence->request->started()) sequence->request->Begin(now);
    step_.AddChunk({.slot = sequence->slot,
                    .tokens = sequence->Next(tokens),
                    .first_position = sequence->computed,
                    .blocks = sequence->blocks,
                    .trace = sequence->request->traced()});
    sequence->request->AddRows(*sequence, tokens, step_);
  }
  return parts_.model->Step(step_.Input(batch.copies));
}

StepEvent Worker::Describe(const Batch& batch, absl::Duration duration) const {
  StepEvent event{.duration = duration, .sequences = static_cast<int32_t>(batch.chunks.size())};
  for (const auto& [sequence, tokens] : batch.chunks) {
    (sequence->decoding ? event.decode_tokens : event.prefill_tokens) += tokens;
  }
  return event;
}

void Worker::Deliver(const Batch& batch, const absl::StatusOr<StepOutput>& output, absl::Time now) {
  if (!output.ok()) {
    const absl::Status failure =
        absl::InternalError(absl::StrCat("the model failed: ", output.status().message()));
    for (const ScheduledChunk& chunk : batch.chunks) chunk.sequence->request->Fail(failure);
    for (const Sequence* sequence : batch.started) sequence->request->Fail(failure);
    return;
  }
  for (size_t i = 0; i < batch.chunks.size(); ++i) {
    const auto& [sequence, tokens] = batch.chunks[i];
    RunningRequest& request = *sequence->request;
    request.Fail(output->chunk_status[i]);
    if (!request.failure().ok()) continue;
    const ChunkResult result = step_.ResultOf(static_cast<int32_t>(i), *output);
    sequence->computed += tokens;
    request.Deliver(*sequence, result, now);
  }
}

void Worker::FinishSequences() {
  for (const auto& request : scheduler_.running()) {
    for (size_t i = 0; i < request->sequences.size();) {
      Sequence& sequence = *request->sequences[i];
      if (!sequence.finished) {
        ++i;
        continue;
      }
      parts_.model->Close(sequence.slot);
      scheduler_.Finish(sequence);
    }
  }
}

void Worker::RemoveDone() {
  for (size_t i = 0; i < scheduler_.running().size();) {
    RunningRequest& request = *scheduler_.running()[i];
    if (request.failure().ok() && !request.done()) {
      ++i;
    } else {
      Remove(request, request.failure());
    }
  }
}

void Worker::Remove(RunningRequest& request, absl::Status status) {
  for (const auto& sequence : request.sequences) parts_.model->Close(sequence->slot);
  ended_.push_back({scheduler_.Remove(request), std::move(status)});
}

void Worker::ReportCounts() {
  const Counts counts = PublishCounts();
  if (counts == reported_) return;
  reported_ = counts;
  parts_.observer->OnQueueChanged(counts.first, counts.second);
}

void Worker::ReportStep(StepEvent event) {
  reported_ = PublishCounts();
  std::tie(event.requests_running, event.requests_waiting) = reported_;
  event.kv_blocks_total = scheduler_.num_blocks();
  event.kv_blocks_free = scheduler_.num_free_blocks();
  {
    absl::MutexLock lock(&mu_);
    ++status_.steps;
  }
  parts_.observer->OnStep(event);
}

Worker::Counts Worker::PublishCounts() {
  const Counts counts(static_cast<int32_t>(scheduler_.running().size()),
                      parts_.queue->num_waiting());
  absl::MutexLock lock(&mu_);
  status_.requests_running = counts.first;
  status_.kv_blocks_free = scheduler_.num_free_blocks();
  return counts;
}

void Worker::AnnounceEnded(absl::Time now) {
  for (const auto& [request, status] : ended_) {
    const Timings timings = request->timeline().At(now);
    RequestEvent event = request->Usage();
    event.code = status.code();
    event.total = now - request->timeline().arrival;
    event.queue = timings.queue;
    event.time_to_first_token = timings.time_to_first_token;
    parts_.observer->OnRequestDone(event);
    request->sink().OnDone(status, timings);
    parts_.queue->Done();
  }
  ended_.clear();
}

}  // namespace peerage
