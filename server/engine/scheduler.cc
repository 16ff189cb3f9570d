#include "server/engine/scheduler.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "base/status_macros.h"

namespace peerage {
namespace {

// Moves the last `count` elements of `from` to the end of `to`.
template <typename T>
void MoveTail(std::vector<T>& from, size_t count, std::vector<T>& to) {
  to.insert(to.end(), from.end() - count, from.end());
  from.resize(from.size() - count);
}

bool RunsBefore(const RunningRequest& a, const RunningRequest& b) {
  return std::pair(a.scheduling().priority, a.handle()) <
         std::pair(b.scheduling().priority, b.handle());
}

}  // namespace

Scheduler::Scheduler(const SchedulerOptions& options)
    : options_(options), blocks_(options.num_blocks), free_sequences_(options.max_sequences) {
  for (SlotId slot = options.num_slots - 1; slot >= 0; --slot) free_slots_.push_back(slot);
}

Scheduler::Lack Scheduler::WhatLacks(const RequestNeeds& needs) const {
  const auto free_slots = static_cast<int64_t>(free_slots_.size());
  if (needs.slots > free_slots || needs.sequences > free_sequences_) return Lack::kSlots;
  return needs.blocks > blocks_.num_free() ? Lack::kBlocks : Lack::kNothing;
}

RunningRequest& Scheduler::Admit(std::unique_ptr<RunningRequest> request) {
  const RequestNeeds& needs = request->needs();
  ReservedResources& reserved = request->reserved;
  reserved.blocks.resize(needs.blocks);
  [[maybe_unused]] const bool fits = blocks_.Allocate(absl::MakeSpan(reserved.blocks));
  assert(fits);
  MoveTail(free_slots_, needs.slots, reserved.slots);
  reserved.sequences = static_cast<int32_t>(needs.sequences);
  free_sequences_ -= reserved.sequences;

  const auto place =
      std::upper_bound(running_.begin(), running_.end(), request,
                       [](const auto& a, const auto& b) { return RunsBefore(*a, *b); });
  return **running_.insert(place, std::move(request));
}

const Batch& Scheduler::Schedule(bool requests_wait) {
  batch_.started.clear();
  batch_.copies.clear();
  batch_.chunks.clear();

  StartSequences(requests_wait);
  CollectWork();
  const int32_t budget = options_.max_batch_tokens;
  const int64_t prefill_share =
      prefill_is_due_ ? std::min<int64_t>(prefill_tokens_, std::max(budget / 2, 1)) : 0;
  AddDecodes(budget - static_cast<int32_t>(prefill_share));
  const int32_t left = budget - static_cast<int32_t>(batch_.chunks.size());
  AddPrefills(left);
  prefill_is_due_ = left == 0 && !prefills_.empty();
  return batch_;
}

void Scheduler::StartSequences(bool requests_wait) {
  for (const auto& request : running_) {
    if (request->parked()) continue;
    while (TryStart(*request, Source::kReserved)) continue;
    if (!request->HasMoreSequences()) ReleaseReserved(*request);
  }
  if (requests_wait) return;
  CollectWork();
  for (const auto& request : running_) {
    if (request->parked()) continue;
    while (prefill_tokens_ < options_.max_batch_tokens && TryStart(*request, Source::kFree)) {
      prefill_tokens_ += request->sequences.back()->pending();
    }
  }
}

bool Scheduler::TryStart(RunningRequest& request, Source source) {
  const std::optional<SequencePlan> plan = request.NextSequence();
  if (!plan) return false;
  const int32_t fork_position = plan->parent == nullptr ? 0 : plan->parent->computed;
  const int32_t shared_blocks = fork_position / options_.block_tokens;
  const auto all_blocks = static_cast<int32_t>(BlocksFor(plan->positions, options_.block_tokens));
  std::optional<SlotAndBlocks> own = Take(request.reserved, all_blocks - shared_blocks, source);
  if (!own) return false;

  std::unique_ptr<Sequence> sequence = request.StartSequence();
  sequence->request = &request;
  sequence->parent = plan->parent;
  sequence->slot = own->slot;
  sequence->extra = source == Source::kFree;
  sequence->start = sequence->computed = fork_position;
  sequence->blocks = std::move(own->blocks);
  if (plan->parent != nullptr) {
    const std::vector<BlockId>& parents = plan->parent->blocks;
    if (fork_position % options_.block_tokens != 0) {
      batch_.copies.push_back({.from = parents[shared_blocks], .to = sequence->blocks[0]});
    }
    blocks_.Share(absl::MakeSpan(parents).first(shared_blocks));
    sequence->blocks.insert(sequence->blocks.begin(), parents.begin(),
                            parents.begin() + shared_blocks);
    sequence->shared_blocks = shared_blocks;
  }
  batch_.started.push_back(sequence.get());
  request.sequences.push_back(std::move(sequence));
  return true;
}

std::optional<Scheduler::SlotAndBlocks> Scheduler::Take(ReservedResources& reserved, int32_t blocks,
                                                        Source source) {
  SlotAndBlocks taken;
  if (source == Source::kReserved) {
    // A request with a slot left in reserve has the blocks to go with it: see NeedsOf.
    if (reserved.slots.empty()) return std::nullopt;
    assert(blocks <= static_cast<int32_t>(reserved.blocks.size()));
    taken.slot = reserved.slots.back();
    reserved.slots.pop_back();
    MoveTail(reserved.blocks, blocks, taken.blocks);
    return taken;
  }
  if (!Fits({.blocks = blocks, .slots = 1, .sequences = 1})) return std::nullopt;
  --free_sequences_;
  taken.slot = free_slots_.back();
  free_slots_.pop_back();
  taken.blocks.resize(blocks);
  [[maybe_unused]] const bool fits = blocks_.Allocate(absl::MakeSpan(taken.blocks));
  return taken;
}

void Scheduler::Finish(Sequence& sequence) {
  RunningRequest& request = *sequence.request;
  GiveBack(sequence);
  if (!request.HasMoreSequences()) ReleaseReserved(request);
  const auto place =
      std::find_if(request.sequences.begin(), request.sequences.end(),
                   [&sequence](const auto& candidate) { return candidate.get() == &sequence; });
  request.sequences.erase(place);
}

std::unique_ptr<RunningRequest> Scheduler::Remove(RunningRequest& request) {
  for (const auto& sequence : request.sequences) GiveBack(*sequence);
  request.sequences.clear();
  ReleaseReserved(request);
  free_sequences_ += std::exchange(request.reserved.sequences, 0);

  const auto place =
      std::find_if(running_.begin(), running_.end(),
                   [&request](const auto& candidate) { return candidate.get() == &request; });
  std::unique_ptr<RunningRequest> removed = std::move(*place);
  running_.erase(place);
  return removed;
}

void Scheduler::GiveBack(Sequence& sequence) {
  if (sequence.extra) {
    ++free_sequences_;
    free_slots_.push_back(sequence.slot);
    blocks_.Release(sequence.blocks);
    return;
  }
  ReservedResources& reserved = sequence.request->reserved;
  reserved.slots.push_back(sequence.slot);
  blocks_.Release(absl::MakeSpan(sequence.blocks).first(sequence.shared_blocks));
  MoveTail(sequence.blocks, sequence.blocks.size() - sequence.shared_blocks, reserved.blocks);
}

// Gives up what nothing will start from: every reserved slot, its blocks and its right to run. The
// context of a ScoreRequest shares that right with the continuation that follows it, so there may
// be one slot more than there are rights.
void Scheduler::ReleaseReserved(RunningRequest& request) {
  ReservedResources& reserved = request.reserved;
  const int32_t sequences =
      std::min(reserved.sequences, static_cast<int32_t>(reserved.slots.size()));
  reserved.sequences -= sequences;
  free_sequences_ += sequences;
  MoveTail(reserved.slots, reserved.slots.size(), free_slots_);
  blocks_.Release(reserved.blocks);
  reserved.blocks.clear();
}

void Scheduler::CollectWork() {
  decodes_.clear();
  prefills_.clear();
  prefill_tokens_ = 0;
  for (const auto& request : running_) {
    if (request->parked()) continue;
    for (const auto& sequence : request->sequences) {
      if (sequence->pending() == 0) continue;
      if (sequence->decoding) {
        decodes_.push_back(sequence.get());
      } else {
        prefills_.push_back(sequence.get());
        prefill_tokens_ += sequence->pending();
      }
    }
  }
}

void Scheduler::AddDecodes(int32_t limit) {
  if (static_cast<int64_t>(decodes_.size()) > limit) {
    std::sort(decodes_.begin(), decodes_.end(),
              [](const Sequence* a, const Sequence* b) { return a->last_turn < b->last_turn; });
    decodes_.resize(limit);
  }
  for (Sequence* sequence : decodes_) AddChunk(*sequence, 1);
}

void Scheduler::AddPrefills(int32_t budget) {
  for (Sequence* sequence : prefills_) {
    if (budget == 0) return;
    const int32_t tokens = std::min(budget, sequence->pending());
    budget -= tokens;
    AddChunk(*sequence, tokens);
  }
}

void Scheduler::AddChunk(Sequence& sequence, int32_t tokens) {
  sequence.last_turn = ++last_turn_;
  batch_.chunks.push_back({.sequence = &sequence, .tokens = tokens});
}

absl::Status Scheduler::CheckMayContinue(const RunningRequest& request, absl::Time now) const {
  const SchedulingParams& scheduling = request.scheduling();
  if (!request.started()) RETURN_IF_ERROR(CheckMayStart(scheduling, now));
  if (now >= scheduling.deadline) {
    return absl::DeadlineExceededError("the deadline passed while the request was running");
  }
  if (request.parked() && now - request.parked_since() >= options_.slow_reader_timeout) {
    return absl::ResourceExhaustedError("the reader is too slow");
  }
  return absl::OkStatus();
}

absl::Time Scheduler::NextExpiry() const {
  absl::Time earliest = absl::InfiniteFuture();
  for (const auto& request : running_) {
    const SchedulingParams& scheduling = request->scheduling();
    earliest = std::min(earliest, scheduling.deadline);
    if (!request->started()) earliest = std::min(earliest, scheduling.queue_deadline);
    if (request->parked()) {
      earliest = std::min(earliest, request->parked_since() + options_.slow_reader_timeout);
    }
  }
  return earliest;
}

}  // namespace peerage
