#include "server/engine/worker.h"

#include <algorithm>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace peerage {
namespace {

constexpr absl::Duration kHeartbeat = absl::Seconds(1);  // turns of an idle worker

// Whatever is thrown, an allocation that failed among others, ends a step and not the process.
absl::StatusOr<StepOutput> TryStep(LanguageModel& model, const StepInput& input) {
  try {
    return model.Step(input);
  } catch (const std::exception& error) {
    return absl::InternalError(error.what());
  }
}

void MoveBehind(std::vector<double>& from, std::vector<double>& to) {
  to.insert(to.end(), from.begin(), from.end());
  from.clear();
}

}  // namespace

Worker::Worker(const WorkerParts& parts, const SchedulerOptions& options)
    : parts_(parts),
      counted_(parts.count_distinct_experts && parts.model != nullptr
                   ? ExpertSample(parts.model->description().expert_layers)
                   : ExpertSample()),
      scheduler_(options) {
  absl::MutexLock lock(&mu_);
  status_.kv_blocks_free = static_cast<int32_t>(scheduler_.reservations().blocks().num_available());
  status_.last_turn = parts.clock->Now();
}

void Worker::Run(absl::Time until) {
  ends_run_ = false;
  while (!parts_.inbox->finished() && parts_.clock->Now() < until) {
    const bool computed = Turn();
    if (failed() || abandoned() || ends_run_) return;
    if (computed) continue;
    const absl::Time next_beat = std::min(parts_.clock->Now() + kHeartbeat, until);
    parts_.inbox->WaitForMail(std::min(scheduler_.NextExpiry(), next_beat));
  }
}

bool Worker::Turn() {
  const absl::Time now = parts_.clock->Now();
  if (parts_.every_turn && failure_.ok()) parts_.every_turn(parts_.index, now);
  TakeMail(now);
  LookAtReaders(now);
  const Batch& batch = scheduler_.Schedule(now);
  CloseSlots();
  PublishCounts();
  AnnounceEnded(now);
  for (const Sequence* sequence : batch.started) {
    parts_.model->Open(sequence->slot, sequence->task->delivery->StateOf(*sequence));
  }
  const bool computes = !batch.chunks.empty();
  const absl::Duration model = computes ? Compute(batch, now) : absl::ZeroDuration();
  if (computes && abandoned()) return false;
  ReportTurn(now, model);
  return computes;
}

void Worker::TakeMail(absl::Time now) {
  Mail mail = parts_.inbox->Take();
  if (mail.errand != nullptr) mail.errand(parts_.index, now);
  for (std::unique_ptr<Task>& task : mail.arrivals) scheduler_.Add(std::move(task), now);
  for (RequestHandle handle : mail.cancelled) scheduler_.Cancel(handle, now);
  if (!mail.end_all.ok()) scheduler_.EndAll(mail.end_all, now);
}

void Worker::LookAtReaders(absl::Time now) {
  for (const auto& task : scheduler_.running()) {
    scheduler_.SetParked(*task, !task->delivery->sink().HasRoom(), now);
  }
}

absl::Duration Worker::Compute(const Batch& batch, absl::Time now) {
  const absl::Time begin = parts_.clock->Now();
  const absl::StatusOr<StepOutput> output = Step(batch, now);
  if (abandoned()) return absl::ZeroDuration();  // nothing is this thread's any more
  const absl::Time end = parts_.clock->Now();
  const StepEvent event = Describe(batch, end - begin);
  if (output.ok()) {
    scheduler_.AddCost(event.duration, event.decode_tokens, event.prefill_tokens);
    Deliver(batch, *output, end);
  } else {
    FailStep(batch, output.status());
  }
  scheduler_.Settle(end);
  CloseSlots();
  ReportStep(event);
  AnnounceEnded(end);
  return end - begin;
}

WorkerStatus Worker::status() const {
  absl::MutexLock lock(&mu_);
  return status_;
}

absl::StatusOr<StepOutput> Worker::Step(const Batch& batch, absl::Time now) {
  step_.Clear();
  for (const auto& [sequence, tokens] : batch.chunks) {
    Delivery& delivery = *sequence->task->delivery;
    if (!delivery.begun()) Begin(*sequence->task, now);
    step_.AddChunk(
        {.slot = sequence->slot,
         .tokens = sequence->Next(tokens),
         .first_position = sequence->computed,
         .blocks = sequence->blocks,
         .trace = delivery.traced() || !counted_.empty(),
         .control = delivery.expert_control().empty() ? nullptr : &delivery.expert_control(),
         .control_token = delivery.NextTraceToken(*sequence)});
    delivery.AddRows(*sequence, tokens, step_);
  }
  {
    absl::MutexLock lock(&mu_);
    step_since_ = parts_.clock->Now();
  }
  absl::StatusOr<StepOutput> output = TryStep(*parts_.model, step_.Input(batch.copies));
  absl::MutexLock lock(&mu_);
  step_since_ = absl::InfiniteFuture();
  return output;
}

StepEvent Worker::Describe(const Batch& batch, absl::Duration duration) const {
  StepEvent event{.duration = duration, .sequences = static_cast<int32_t>(batch.chunks.size())};
  for (const auto& [sequence, tokens] : batch.chunks) {
    (sequence->decodes() ? event.decode_tokens : event.prefill_tokens) += tokens;
  }
  return event;
}

void Worker::Deliver(const Batch& batch, const StepOutput& output, absl::Time now) {
  for (size_t i = 0; i < batch.chunks.size(); ++i) {
    const auto& [sequence, tokens] = batch.chunks[i];
    Task& task = *sequence->task;
    task.Fail(output.chunk_status[i]);
    if (!task.failure.ok()) continue;
    const ChunkResult result = step_.ResultOf(static_cast<int32_t>(i), output);
    sequence->computed += tokens;
    if (!counted_.empty()) task.delivery->distinct_experts.Add(counted_, result);
    task.delivery->SetPreemptions(task.preemptions);
    const std::optional<TokenId> next = task.delivery->Deliver(*sequence, result, now);
    if (next) sequence->tokens.push_back(*next);
    tokens_.recomputed += std::min(sequence->reached, sequence->computed) -
                          std::min(sequence->reached, result.first_position);
    sequence->reached = std::max(sequence->reached, sequence->computed);
    CollectTokens(*task.delivery);
  }
}

void Worker::Begin(Task& task, absl::Time now) {
  task.delivery->Begin(std::exchange(task.cached, {}), now);
  CollectTokens(*task.delivery);
}

void Worker::CloseSlots() {
  for (SlotId slot : scheduler_.TakeClosed()) parts_.model->Close(slot);
}

void Worker::ReportStep(const StepEvent& event) {
  PublishCounts();
  {
    absl::MutexLock lock(&mu_);
    ++status_.steps;
  }
  parts_.observer->OnStep(event);
}

void Worker::PublishCounts() {
  parts_.inbox->Count(scheduler_.TakeWaitingChanges());
  int32_t parked = 0;
  for (const auto& task : scheduler_.running()) parked += task->parked ? 1 : 0;
  absl::MutexLock lock(&mu_);
  status_.requests_running = static_cast<int32_t>(scheduler_.running().size());
  status_.requests_parked = parked;
  status_.front_lacks = scheduler_.front_lacks();
  status_.share_gap = scheduler_.share_gap();
  const BlockPool& blocks = scheduler_.reservations().blocks();
  status_.kv_blocks_free = static_cast<int32_t>(blocks.num_available());
  // What is promised is in use, whichever blocks it will be.
  status_.kv_blocks_cached = std::min(blocks.num_kept(), status_.kv_blocks_free);
  status_.preemptions = scheduler_.num_preemptions();
}

void Worker::CollectTokens(Delivery& delivery) {
  TokensEvent& tokens = delivery.tokens();
  tokens_.prompt += std::exchange(tokens.prompt, 0);
  tokens_.generated += std::exchange(tokens.generated, 0);
  tokens_.scored += std::exchange(tokens.scored, 0);
  tokens_.prefix_queried += std::exchange(tokens.prefix_queried, 0);
  tokens_.prefix_hit += std::exchange(tokens.prefix_hit, 0);
  MoveBehind(tokens.first_token_seconds, tokens_.first_token_seconds);
  MoveBehind(tokens.inter_token_seconds, tokens_.inter_token_seconds);
}

void Worker::ReportTokens() {
  tokens_.preemptions = scheduler_.num_preemptions() - reported_preemptions_;
  reported_preemptions_ += tokens_.preemptions;
  if (tokens_.empty()) return;
  {
    absl::MutexLock lock(&mu_);
    status_.prefix_queried_tokens += tokens_.prefix_queried;
    status_.prefix_hit_tokens += tokens_.prefix_hit;
  }
  parts_.observer->OnTokens(tokens_);
  std::vector<double> first = std::move(tokens_.first_token_seconds);
  std::vector<double> later = std::move(tokens_.inter_token_seconds);
  first.clear();
  later.clear();
  tokens_ = {.first_token_seconds = std::move(first), .inter_token_seconds = std::move(later)};
}

void Worker::ReportTurn(absl::Time begin, absl::Duration model) {
  const absl::Time end = parts_.clock->Now();
  {
    absl::MutexLock lock(&mu_);
    status_.last_turn = end;
  }
  parts_.observer->OnTurn({.overhead = end - begin - model});
}

void Worker::AnnounceEnded(absl::Time now) {
  std::vector<EndedTask> ended = scheduler_.TakeEnded();
  for (const auto& [task, status] : ended) {
    // What needs no step, continuations of one token without a context, begins here.
    if (status.ok() && !task->delivery->begun()) Begin(*task, now);
  }
  ReportTokens();
  InboxLoad done;
  for (const auto& [task, status] : ended) {
    Announce(*task, status, now);
    done += LoadOf(*task);
  }
  if (!ended.empty()) parts_.inbox->Done(done);
}

void Worker::Announce(const Task& task, const absl::Status& status, absl::Time now) {
  Delivery& delivery = *task.delivery;
  delivery.SetPreemptions(task.preemptions);
  const Timings timings = delivery.timeline().At(now);
  RequestEvent event = delivery.Usage();
  event.code = status.code();
  event.error = std::string(status.message());
  event.total = now - delivery.timeline().arrival;
  event.admitted = true;
  event.scheduled = delivery.begun();
  event.timings = timings;
  if (!counted_.empty() && event.scheduled) {
    event.distinct_experts = delivery.distinct_experts.Count(counted_);
  }
  parts_.observer->OnRequestDone(event);
  delivery.sink().OnDone(status, timings);
}

}  // namespace peerage
