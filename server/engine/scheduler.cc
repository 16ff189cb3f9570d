#include "server/engine/scheduler.h"

#include <algorithm>
#include <cassert>
#include <optional>

#include "base/status_macros.h"
#include "server/engine/admission.h"
#include "server/engine/deadline.h"

namespace peerage {
namespace {

absl::Status Lateness(const Task& task, absl::Time now) {
  if (!task.started) RETURN_IF_ERROR(CheckMayStart(task.scheduling, now));
  if (now >= task.scheduling.deadline) {
    return absl::DeadlineExceededError("the deadline passed while the request was running");
  }
  return absl::ResourceExhaustedError("the reader is too slow");
}

// What the sequence has of its task's needs: shared blocks are the trunk's.
int64_t OwnBlocks(const Sequence& sequence) {
  return static_cast<int64_t>(sequence.blocks.size()) - sequence.shared_blocks +
         sequence.promised_blocks;
}

}  // namespace

Scheduler::Scheduler(const SchedulerOptions& options)
    : options_(options), blocks_(options.num_blocks) {
  for (SlotId slot = options.max_sequences - 1; slot >= 0; --slot) free_slots_.push_back(slot);
}

void Scheduler::Add(std::unique_ptr<Task> task, absl::Time now) {
  tasks_.emplace(task->handle, task.get());
  UpdateExpiry(*task);
  line_.Add(std::move(task), now);
}

void Scheduler::Cancel(RequestHandle handle, absl::Time now) {
  const auto found = tasks_.find(handle);
  if (found == tasks_.end()) return;
  Task& task = *found->second;
  End(task, CancelledAt(now, task.scheduling.arrival, task.scheduling.deadline), now);
}

void Scheduler::EndAll(const absl::Status& status, absl::Time now) {
  while (!running_.empty()) End(*running_.front(), status, now);
  while (line_.front() != nullptr) End(*line_.front(), status, now);
}

void Scheduler::SetParked(Task& task, bool parked, absl::Time now) {
  if (parked == task.parked()) return;
  task.parked_since = parked ? std::optional(now) : std::nullopt;
  UpdateExpiry(task);
}

const Batch& Scheduler::Schedule(absl::Time now) {
  batch_.started.clear();
  batch_.copies.clear();
  batch_.chunks.clear();

  ExpireLate(now);
  AdmitWaiting(now);
  StartSequences();
  CollectWork();
  FillStep();
  return batch_;
}

void Scheduler::FillStep() {
  const int32_t budget = options_.max_batch_tokens;
  const int64_t prefill_share =
      prefill_is_due_ ? std::min<int64_t>(prefill_tokens_, std::max(budget / 2, 1)) : 0;
  AddDecodes(budget - static_cast<int32_t>(prefill_share));
  const int32_t left = budget - static_cast<int32_t>(batch_.chunks.size());
  prefill_is_due_ = left == 0 && prefill_tokens_ > 0;
  if (left == 0) return;

  const int64_t throughput_share =
      throughput_is_due_ ? std::min<int64_t>(throughput_tokens_, std::max(left / 2, 1)) : 0;
  const int32_t prefilled = AddPrefills(prefills_, left - static_cast<int32_t>(throughput_share));
  extras_had_a_turn_ = false;
  const int32_t throughput = AddPrefills(throughput_, left - prefilled);
  throughput_is_due_ = throughput == 0 && throughput_tokens_ > 0;
  if (throughput > 0) extras_are_due_ = !extras_had_a_turn_ && !extras_.empty();
}

void Scheduler::ExpireLate(absl::Time now) {
  while (NextExpiry() <= now) {
    Task& task = *tasks_.at(expiries_.begin()->second);
    End(task, Lateness(task, now), now);
  }
}

absl::Time Scheduler::NextExpiry() const {
  return expiries_.empty() ? absl::InfiniteFuture() : expiries_.begin()->first;
}

void Scheduler::UpdateExpiry(Task& task) {
  absl::Time expiry = task.scheduling.deadline;
  if (!task.started) expiry = std::min(expiry, task.scheduling.queue_deadline);
  if (task.parked()) expiry = std::min(expiry, *task.parked_since + options_.slow_reader_timeout);
  if (expiry == task.expiry) return;
  expiries_.erase({task.expiry, task.handle});
  if (expiry != absl::InfiniteFuture()) expiries_.emplace(expiry, task.handle);
  task.expiry = expiry;
}

Scheduler::Lack Scheduler::WhatLacks(const Task& task) const {
  if (task.needs.sequences > num_available_sequences()) return Lack::kSequences;
  return task.needs.blocks > blocks_.num_available() ? Lack::kBlocks : Lack::kNothing;
}

Scheduler::Lack Scheduler::front_lacks() const {
  const Task* const front = line_.front();
  return front == nullptr ? Lack::kNothing : WhatLacks(*front);
}

void Scheduler::AdmitWaiting(absl::Time now) {
  const auto fits = [this](const Task& task) { return WhatLacks(task) == Lack::kNothing; };
  while (Task* const next = line_.Next(now, fits)) {
    std::unique_ptr<Task> task = line_.Start(*next);
    Promise(*task);
    const auto place =
        std::upper_bound(running_.begin(), running_.end(), task,
                         [](const auto& a, const auto& b) { return a->order < b->order; });
    Task& admitted = **running_.insert(place, std::move(task));
    if (admitted.done()) End(admitted, absl::OkStatus(), now);  // there is nothing to compute
  }
}

void Scheduler::End(Task& task, absl::Status status, absl::Time now) {
  for (const auto& sequence : task.sequences) LetGo(*sequence);
  task.sequences.clear();
  if (task.trunk != nullptr) LetGo(*task.trunk);
  task.trunk.reset();
  blocks_.Forgo(std::exchange(task.promised_blocks, 0));
  promised_sequences_ -= std::exchange(task.promised_sequences, 0);
  expiries_.erase({task.expiry, task.handle});
  tasks_.erase(task.handle);

  if (std::unique_ptr<Task> waited = line_.Remove(task, now)) {
    ended_.push_back({std::move(waited), std::move(status)});
    return;
  }
  line_.Leave(task, now);
  const auto running = std::find_if(running_.begin(), running_.end(),
                                    [&task](const auto& other) { return other.get() == &task; });
  ended_.push_back({std::move(*running), std::move(status)});
  running_.erase(running);
}

void Scheduler::Promise(Task& task) {
  int64_t blocks = 0, sequences = 0;
  if (task.has_more_to_start()) {
    blocks = task.needs.blocks;
    sequences = task.needs.sequences;
    if (task.trunk != nullptr) blocks -= OwnBlocks(*task.trunk);
    if (task.trunk != nullptr && task.trunk->slot >= 0) --sequences;
    for (const auto& sequence : task.sequences) blocks -= OwnBlocks(*sequence);
    sequences -= static_cast<int64_t>(task.sequences.size());
    blocks = std::max<int64_t>(blocks, 0);
    sequences = std::max<int64_t>(sequences, 0);
  }
  blocks_.Forgo(task.promised_blocks);
  blocks_.Promise(blocks);
  task.promised_blocks = blocks;
  promised_sequences_ += sequences - task.promised_sequences;
  task.promised_sequences = sequences;
}

void Scheduler::StartSequences() {
  for (const auto& task : running_) {
    if (task->parked()) continue;
    while (TryStart(*task, /*as_extra=*/false)) continue;
  }
  if (line_.size() > 0) return;
  CollectWork();
  for (const auto& task : running_) {
    if (task->parked()) continue;
    while (prefill_tokens_ < options_.max_batch_tokens && TryStart(*task, /*as_extra=*/true)) {
      prefill_tokens_ += task->sequences.back()->pending();
    }
  }
}

bool Scheduler::TryStart(Task& task, bool as_extra) {
  if (!task.has_more_to_start()) return false;
  const bool trunk_pends = task.trunk != nullptr && task.trunk->pending() > 0;
  if (trunk_pends || (as_extra && task.trunk_is_next())) return false;
  std::unique_ptr<Sequence> next = NextSequence(task);
  if (!Reserve(task, *next, as_extra)) return false;

  Sequence& started = *next;
  started.slot = free_slots_.back();
  free_slots_.pop_back();
  if (started.is_trunk) {
    task.trunk = std::move(next);
  } else {
    ++task.num_started;
    task.sequences.push_back(std::move(next));
    if (task.trunk != nullptr) BranchOff(started);
  }
  Promise(task);
  batch_.started.push_back(&started);
  return true;
}

// What the sequence needs beside the blocks that it will have of its trunk.
int64_t Scheduler::BlocksToStart(const Task& task, const Sequence& sequence) const {
  if (sequence.is_trunk) return BlocksFor(sequence.pending(), options_.block_tokens);
  const int64_t blocks =
      BlocksFor(task.work.branches[task.num_started].positions, options_.block_tokens);
  if (task.trunk == nullptr) return blocks;
  const bool takes_over = task.num_started + 1 == task.work.branches.size();
  return blocks - (takes_over ? static_cast<int64_t>(task.trunk->blocks.size())
                              : sequence.start / options_.block_tokens);
}

// Gives the sequence a promise: one of its task's, or a new one of what is available.
bool Scheduler::Reserve(Task& task, Sequence& sequence, bool as_extra) {
  const int64_t blocks = BlocksToStart(task, sequence);
  if (as_extra) {
    if (num_available_sequences() < 1 || blocks_.num_available() < blocks) return false;
    blocks_.Promise(blocks);
  } else {
    // A task to which a sequence is promised has the blocks to go with it: see Promise.
    if (task.promised_sequences < 1) return false;
    assert(blocks <= task.promised_blocks);
    task.promised_blocks -= blocks;
    --task.promised_sequences;
    --promised_sequences_;
  }
  sequence.promised_blocks = blocks;
  sequence.is_extra = as_extra;
  return true;
}

std::unique_ptr<Sequence> Scheduler::NextSequence(Task& task) const {
  auto sequence = std::make_unique<Sequence>();
  sequence->task = &task;
  if (task.trunk_is_next()) {
    sequence->is_trunk = true;
    sequence->tokens.assign(task.work.trunk.begin(), task.work.trunk.end());
  } else {
    const Work::Branch& branch = task.work.branches[task.num_started];
    sequence->index = branch.index;
    sequence->start = static_cast<int32_t>(task.work.trunk.size());
    sequence->tokens.assign(branch.tokens.begin(), branch.tokens.end());
  }
  sequence->computed = sequence->start;
  sequence->given = static_cast<int32_t>(sequence->tokens.size());
  return sequence;
}

// Shares the trunk's full blocks and goes on in a copy of its partial one, or in that one itself
// when nobody else will.
void Scheduler::BranchOff(Sequence& sequence) {
  Task& task = *sequence.task;
  Sequence& trunk = *task.trunk;
  if (!task.has_more_to_start()) {
    sequence.blocks = std::move(trunk.blocks);
    task.trunk.reset();
    return;
  }
  sequence.shared_blocks = sequence.start / options_.block_tokens;
  const auto shared = absl::MakeSpan(trunk.blocks).first(sequence.shared_blocks);
  blocks_.Share(shared);
  sequence.blocks.assign(shared.begin(), shared.end());
  if (sequence.start % options_.block_tokens == 0) return;
  TakeBlocks(sequence, sequence.start);
  batch_.copies.push_back(
      {.from = trunk.blocks[sequence.shared_blocks], .to = sequence.blocks.back()});
}

void Scheduler::TakeBlocks(Sequence& sequence, int32_t positions) {
  const int64_t blocks = BlocksFor(positions, options_.block_tokens);
  while (static_cast<int64_t>(sequence.blocks.size()) < blocks) {
    assert(sequence.promised_blocks > 0);
    --sequence.promised_blocks;
    sequence.blocks.push_back(blocks_.Take());
  }
}

void Scheduler::CloseSlot(Sequence& sequence) {
  if (sequence.slot < 0) return;
  closed_.push_back(sequence.slot);
  free_slots_.push_back(std::exchange(sequence.slot, -1));
}

void Scheduler::LetGo(Sequence& sequence) {
  CloseSlot(sequence);
  blocks_.Release(sequence.blocks);
  sequence.blocks.clear();
  blocks_.Forgo(std::exchange(sequence.promised_blocks, 0));
}

void Scheduler::Settle(absl::Time now) {
  for (size_t i = 0; i < running_.size();) {
    Task& task = *running_[i];
    SettleSequences(task);
    if (task.failure.ok() && !task.done()) {
      ++i;
    } else {
      End(task, task.failure, now);
    }
  }
}

void Scheduler::SettleSequences(Task& task) {
  bool changed = false;
  if (task.trunk != nullptr && task.trunk->slot >= 0 && task.trunk->pending() == 0) {
    CloseSlot(*task.trunk);
    changed = true;
  }
  for (size_t i = 0; i < task.sequences.size();) {
    if (task.sequences[i]->pending() > 0) {
      ++i;
      continue;
    }
    LetGo(*task.sequences[i]);
    task.sequences.erase(task.sequences.begin() + static_cast<std::ptrdiff_t>(i));
    changed = true;
  }
  if (changed) Promise(task);
}

void Scheduler::CollectWork() {
  for (auto* work : {&decodes_, &prefills_, &throughput_, &extras_}) work->clear();
  prefill_tokens_ = throughput_tokens_ = 0;
  for (const auto& task : running_) {
    if (task->parked()) continue;
    if (task->trunk != nullptr) Collect(*task->trunk);
    for (const auto& sequence : task->sequences) Collect(*sequence);
  }
  const auto place = extras_are_due_ ? throughput_.begin() : throughput_.end();
  throughput_.insert(place, extras_.begin(), extras_.end());
}

void Scheduler::Collect(Sequence& sequence) {
  if (sequence.pending() == 0) return;
  if (sequence.decodes()) {
    decodes_.push_back(&sequence);
    return;
  }
  prefill_tokens_ += sequence.pending();
  if (!sequence.task->work.is_throughput) {
    prefills_.push_back(&sequence);
    return;
  }
  throughput_tokens_ += sequence.pending();
  (sequence.is_extra ? extras_ : throughput_).push_back(&sequence);
}

void Scheduler::AddDecodes(int32_t limit) {
  if (static_cast<int64_t>(decodes_.size()) > limit) {
    std::sort(decodes_.begin(), decodes_.end(),
              [](const Sequence* a, const Sequence* b) { return a->last_turn < b->last_turn; });
    decodes_.resize(limit);
  }
  for (Sequence* sequence : decodes_) AddChunk(*sequence, 1);
}

// How many tokens of the budget were taken.
int32_t Scheduler::AddPrefills(const std::vector<Sequence*>& prefills, int32_t budget) {
  int32_t left = budget;
  for (Sequence* sequence : prefills) {
    if (left == 0) break;
    const int32_t tokens = std::min(left, sequence->pending());
    left -= tokens;
    AddChunk(*sequence, tokens);
  }
  return budget - left;
}

void Scheduler::AddChunk(Sequence& sequence, int32_t tokens) {
  sequence.last_turn = ++last_turn_;
  TakeBlocks(sequence, sequence.computed + tokens);
  batch_.chunks.push_back({.sequence = &sequence, .tokens = tokens});
  if (sequence.decodes()) line_.Charge(*sequence.task, tokens);
  if (sequence.is_extra) extras_had_a_turn_ = true;
  if (sequence.task->started) return;
  sequence.task->started = true;
  UpdateExpiry(*sequence.task);
}

}  // namespace peerage
