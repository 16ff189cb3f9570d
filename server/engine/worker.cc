#include "server/engine/worker.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "server/engine/deadline.h"

namespace peerage {
namespace {

constexpr absl::Duration kHeartbeat = absl::Seconds(1);  // turns of an idle worker

void MoveBehind(std::vector<double>& from, std::vector<double>& to) {
  to.insert(to.end(), from.begin(), from.end());
  from.clear();
}

}  // namespace

Worker::Worker(const WorkerParts& parts, const SchedulerOptions& options)
    : parts_(parts),
      counted_(parts.count_distinct_experts ? ExpertSample(parts.model->description().expert_layers)
                                            : ExpertSample()),
      scheduler_(options) {
  absl::MutexLock lock(&mu_);
  status_.kv_blocks_free = scheduler_.num_free_blocks();
  status_.last_turn = parts.clock->Now();
}

void Worker::Run() {
  while (!parts_.queue->finished()) {
    if (Turn()) continue;
    const absl::Time next_beat = parts_.clock->Now() + kHeartbeat;
    parts_.queue->WaitForNews(std::min(scheduler_.NextExpiry(), next_beat));
  }
}

bool Worker::Turn() {
  const absl::Time now = parts_.clock->Now();
  if (parts_.every_turn && lost_.ok()) parts_.every_turn(now);
  Take(now);
  const Batch& batch = scheduler_.Schedule(/*requests_wait=*/parts_.queue->num_waiting() > 0);
  for (const Sequence* sequence : batch.started) Open(*sequence);
  const bool computes = !batch.chunks.empty();
  ReportTurn(now, computes ? Compute(batch, now) : absl::ZeroDuration());
  return computes;
}

absl::Duration Worker::Compute(const Batch& batch, absl::Time now) {
  const absl::Time begin = parts_.clock->Now();
  const absl::StatusOr<StepOutput> output = Step(batch, now);
  const absl::Time end = parts_.clock->Now();
  const StepEvent event = Describe(batch, end - begin);
  if (output.status().code() == absl::StatusCode::kUnavailable) Lose(output.status());
  Deliver(batch, output, end);
  FinishSequences();
  RemoveDone();
  ReportStep(event);
  AnnounceEnded(end);
  return end - begin;
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
  front_lacks_ = Scheduler::Lack::kNothing;
  const auto fits = [this](const RunningRequest& next) {
    front_lacks_ = scheduler_.WhatLacks(next.needs());
    return front_lacks_ == Scheduler::Lack::kNothing;
  };
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
    const absl::Time arrival = request.timeline().arrival;
    return CancelledAt(now, arrival, request.scheduling().deadline);
  }
  return scheduler_.CheckMayContinue(request, now);
}

void Worker::Admit(std::unique_ptr<RunningRequest> request, absl::Time now) {
  RunningRequest& running = scheduler_.Admit(std::move(request));
  if (running.HasMoreSequences()) return;
  running.Begin(now);  // nothing to compute: continuations of one token without a context
  CollectTokens(running);
  Remove(running, absl::OkStatus());
}

void Worker::Open(const Sequence& sequence) {
  const RunningRequest& request = *sequence.request;
  parts_.model->Open(
      sequence.slot,
      {.sampling = request.sampling(), .prompt = request.prompt(), .candidate = sequence.index});
}

absl::StatusOr<StepOutput> Worker::Step(const Batch& batch, absl::Time now) {
  step_.Clear();
  for (const auto& [sequence, tokens] : batch.chunks) {
    if (!sequence->request->started()) {
      sequence->request->Begin(now);
      CollectTokens(*sequence->request);
    }
    step_.AddChunk({.slot = sequence->slot,
                    .tokens = sequence->Next(tokens),
                    .first_position = sequence->computed,
                    .blocks = sequence->blocks,
                    .trace = sequence->request->traced() || !counted_.empty()});
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

// What waits, and what runs without having been in the step, ends at the next turn.
void Worker::Lose(const absl::Status& status) {
  lost_ = status;
  {
    absl::MutexLock lock(&mu_);
    status_.lost = status;
  }
  parts_.queue->Fail(status);
  if (parts_.on_lost) parts_.on_lost(status);
}

void Worker::Deliver(const Batch& batch, const absl::StatusOr<StepOutput>& output, absl::Time now) {
  if (!output.ok()) {
    const absl::Status failure =
        lost_.ok()
            ? absl::InternalError(absl::StrCat("the model failed: ", output.status().message()))
            : lost_;
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
    if (!counted_.empty()) request.distinct_experts.Add(counted_, result);
    request.Deliver(*sequence, result, now);
    CollectTokens(request);
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

void Worker::CollectTokens(RunningRequest& request) {
  TokensEvent& tokens = request.tokens();
  tokens_.prompt += std::exchange(tokens.prompt, 0);
  tokens_.generated += std::exchange(tokens.generated, 0);
  tokens_.scored += std::exchange(tokens.scored, 0);
  MoveBehind(tokens.first_token_seconds, tokens_.first_token_seconds);
  MoveBehind(tokens.inter_token_seconds, tokens_.inter_token_seconds);
}

void Worker::ReportTokens() {
  if (tokens_.empty()) return;
  parts_.observer->OnTokens(tokens_);
  tokens_.prompt = tokens_.generated = tokens_.scored = 0;
  tokens_.first_token_seconds.clear();
  tokens_.inter_token_seconds.clear();
}

void Worker::ReportTurn(absl::Time begin, absl::Duration model) {
  const absl::Time end = parts_.clock->Now();
  TurnEvent event{.end = end, .overhead = end - begin - model};
  for (const auto& request : scheduler_.running()) event.parked += request->parked() ? 1 : 0;
  const int32_t waiting = parts_.queue->num_waiting();
  if (front_lacks_ == Scheduler::Lack::kSlots) event.waiting_for_slots = waiting;
  if (front_lacks_ == Scheduler::Lack::kBlocks) event.waiting_for_blocks = waiting;
  event.waiting_prompt_tokens = parts_.queue->waiting_prompt_tokens();
  event.kv_blocks_total = scheduler_.num_blocks();
  event.kv_blocks_free = scheduler_.num_free_blocks();
  {
    absl::MutexLock lock(&mu_);
    status_.last_turn = end;
  }
  parts_.observer->OnTurn(event);
}

void Worker::AnnounceEnded(absl::Time now) {
  ReportTokens();
  for (const auto& [request, status] : ended_) {
    const Timings timings = request->timeline().At(now);
    RequestEvent event = request->Usage();
    event.code = status.code();
    event.error = std::string(status.message());
    event.total = now - request->timeline().arrival;
    event.admitted = true;
    event.scheduled = request->started();
    event.timings = timings;
    if (!counted_.empty() && event.scheduled) {
      event.distinct_experts = request->distinct_experts.Count(counted_);
    }
    parts_.observer->OnRequestDone(event);
    request->sink().OnDone(status, timings);
    parts_.queue->Done();
  }
  ended_.clear();
}

}  // namespace peerage
