#include "server/engine/reservations.h"

#include <algorithm>
#include <cassert>
#include <iterator>

namespace peerage {
namespace {

// What the sequence has of what its task asked: shared blocks are the trunk's.
int64_t OwnBlocks(const Sequence& sequence) {
  return static_cast<int64_t>(sequence.blocks.size()) - sequence.shared_blocks +
         sequence.promised_blocks;
}

int64_t PositionsToStart(const Task& task) {
  if (!task.preempted.empty()) return task.preempted.front()->positions;
  const Work::Branch& branch = task.work.branches[task.num_started];
  const size_t known = task.work.trunk.size() + branch.tokens.size() + branch.generated.size();
  return std::min(branch.positions, static_cast<int64_t>(known) + task.expected_tokens);
}

bool Computes(const Task& task) {
  return !task.sequences.empty() || (task.trunk != nullptr && task.trunk->pending() > 0);
}

}  // namespace

Reservations::Reservations(const Options& options)
    : options_(options),
      firm_(options.admission == Admission::kReserve),
      blocks_(options.num_blocks, firm_),
      prefixes_(options.keeps_prefixes, options.block_tokens, &blocks_) {
  for (SlotId slot = options.max_sequences - 1; slot >= 0; --slot) free_slots_.push_back(slot);
}

void Reservations::Ask(Task& task) const {
  if (task.work.branches_are_scored) return;  // all is known
  // Who was thrown out once is to come to its end.
  if (firm_ || task.preemptions > 0) {
    task.asks = task.needs;
    task.expected_tokens = INT32_MAX;
  } else {
    task.expected_tokens = expected_length_.tokens();
    task.asks = NeedsOf(task.work, options_.block_tokens, task.expected_tokens);
  }
}

Lack Reservations::WhatLacks(const Task& task) const {
  if (task.asks.sequences > num_available_sequences()) return Lack::kSequences;
  return task.asks.blocks + Margin() > blocks_.num_available() ? Lack::kBlocks : Lack::kNothing;
}

// Where promises are not firm, those that run may each need one more block soon: to start others on
// the last ones would end in throwing out.
int64_t Reservations::Margin() const {
  return firm_ ? 0 : options_.max_sequences - static_cast<int64_t>(free_slots_.size());
}

void Reservations::Promise(Task& task) {
  int64_t blocks = 0, sequences = 0;
  if (task.has_more_to_start()) {
    blocks = task.asks.blocks;
    sequences = task.asks.sequences;
    if (task.trunk != nullptr) blocks -= OwnBlocks(*task.trunk);
    if (task.trunk != nullptr && task.trunk->slot >= 0) --sequences;
    for (const auto& sequence : task.sequences) blocks -= OwnBlocks(*sequence);
    sequences -= static_cast<int64_t>(task.sequences.size());
    blocks = std::max<int64_t>(blocks, 0);
    sequences = std::max<int64_t>(sequences, 0);
  }
  blocks_.Forgo(task.promised_blocks);
  if (!firm_) blocks = std::min(blocks, blocks_.num_available());
  blocks_.Promise(blocks);
  task.promised_blocks = blocks;
  promised_sequences_ += sequences - task.promised_sequences;
  task.promised_sequences = sequences;
}

bool Reservations::LetGoOn(Task& task) {
  if (!Computes(task) && task.has_more_to_start()) {
    return PromiseUpTo(BlocksToStart(task), task.promised_blocks);
  }
  return std::all_of(task.sequences.begin(), task.sequences.end(), [this](const auto& sequence) {
    const int64_t blocks = BlocksFor(sequence->computed + 1, options_.block_tokens);
    return PromiseUpTo(blocks - static_cast<int64_t>(sequence->blocks.size()),
                       sequence->promised_blocks);
  });
}

bool Reservations::PromiseUpTo(int64_t blocks, int64_t& promised) {
  const int64_t missing = std::max<int64_t>(blocks - promised, 0);
  if (missing > blocks_.num_available()) return false;
  blocks_.Promise(missing);
  promised += missing;
  return true;
}

bool Reservations::Start(Task& task, bool as_extra, Batch& batch) {
  if (!task.has_more_to_start()) return false;
  const bool trunk_pends = task.trunk != nullptr && task.trunk->pending() > 0;
  if (trunk_pends || (as_extra && task.trunk_is_next())) return false;
  const int64_t blocks = BlocksToStart(task);
  if (!Reserve(task, blocks, as_extra)) return false;

  std::unique_ptr<Sequence> next = NextSequence(task);
  Sequence& started = *next;
  started.promised_blocks = blocks;
  started.is_extra = as_extra;
  started.slot = free_slots_.back();
  free_slots_.pop_back();
  if (started.is_trunk) {
    task.trunk = std::move(next);
  } else {
    task.sequences.push_back(std::move(next));
    if (task.trunk != nullptr) BranchOff(started, batch);
  }
  prefixes_.Find(started);
  Promise(task);
  batch.started.push_back(&started);
  return true;
}

// What the next sequence needs beside the blocks that it will have of its trunk.
int64_t Reservations::BlocksToStart(const Task& task) const {
  const auto trunk = static_cast<int64_t>(task.work.trunk.size());
  if (task.trunk_is_next()) return BlocksFor(trunk, options_.block_tokens);
  const int64_t blocks = BlocksFor(PositionsToStart(task), options_.block_tokens);
  if (task.trunk == nullptr) return blocks;
  const bool takes_over = task.branches_to_start() == 1;
  return blocks - (takes_over ? static_cast<int64_t>(task.trunk->blocks.size())
                              : trunk / options_.block_tokens);
}

// Takes a sequence's promise: one of its task's, or a new one of what is available.
bool Reservations::Reserve(Task& task, int64_t blocks, bool as_extra) {
  if (as_extra) {
    if (num_available_sequences() < 1 || blocks_.num_available() < blocks + Margin()) return false;
    blocks_.Promise(blocks);
    return true;
  }
  if (task.promised_sequences < 1) return false;
  // A task to which a sequence is promised has the blocks to go with it where promises are firm:
  // see Promise.
  assert(!firm_ || blocks <= task.promised_blocks);
  if (!PromiseUpTo(blocks, task.promised_blocks)) return false;
  task.promised_blocks -= blocks;
  --task.promised_sequences;
  --promised_sequences_;
  return true;
}

std::unique_ptr<Sequence> Reservations::NextSequence(Task& task) const {
  if (!task.trunk_is_next() && !task.preempted.empty()) {
    std::unique_ptr<Sequence> sequence = std::move(task.preempted.front());
    task.preempted.pop_front();
    return sequence;
  }
  auto sequence = std::make_unique<Sequence>();
  sequence->task = &task;
  if (task.trunk_is_next()) {
    sequence->is_trunk = true;
    sequence->tokens.assign(task.work.trunk.begin(), task.work.trunk.end());
    sequence->given = static_cast<int32_t>(sequence->tokens.size());
    sequence->positions = sequence->given;
    sequence->reached = task.trunk_reached;
  } else {
    const Work::Branch& branch = task.work.branches[task.num_started++];
    sequence->index = branch.index;
    sequence->start = static_cast<int32_t>(task.work.trunk.size());
    sequence->tokens.assign(branch.tokens.begin(), branch.tokens.end());
    sequence->given = static_cast<int32_t>(branch.tokens.size());
    sequence->tokens.insert(sequence->tokens.end(), branch.generated.begin(),
                            branch.generated.end());
    sequence->positions = branch.positions;
  }
  sequence->computed = sequence->start;
  return sequence;
}

// Shares the trunk's full blocks, which stay the trunk's to the task's end: who else counts on them
// counts on it. Goes on in a copy of the trunk's partial block, or in that one itself when nobody
// else will.
void Reservations::BranchOff(Sequence& sequence, Batch& batch) {
  Sequence& trunk = *sequence.task->trunk;
  sequence.remembered = trunk.remembered;
  sequence.prefix = trunk.prefix;
  sequence.shared_blocks = sequence.start / options_.block_tokens;
  const auto shared = absl::MakeSpan(trunk.blocks).first(sequence.shared_blocks);
  blocks_.Share(shared);
  sequence.blocks.assign(shared.begin(), shared.end());
  if (sequence.start % options_.block_tokens == 0) return;
  if (!sequence.task->has_more_to_start()) {
    sequence.blocks.push_back(trunk.blocks.back());
    trunk.blocks.pop_back();
    return;
  }
  TakeBlocks(sequence, sequence.start);
  batch.copies.push_back(
      {.from = trunk.blocks[sequence.shared_blocks], .to = sequence.blocks.back()});
}

void Reservations::TakeBlocks(Sequence& sequence, int32_t positions) {
  const int64_t blocks = BlocksFor(positions, options_.block_tokens);
  while (static_cast<int64_t>(sequence.blocks.size()) < blocks) {
    assert(sequence.promised_blocks > 0);
    --sequence.promised_blocks;
    sequence.blocks.push_back(blocks_.Take());
    prefixes_.Forget({sequence.blocks.back()});
  }
}

void Reservations::CloseSlot(Sequence& sequence) {
  if (sequence.slot < 0) return;
  closed_.push_back(sequence.slot);
  free_slots_.push_back(std::exchange(sequence.slot, -1));
}

void Reservations::LetGo(Sequence& sequence) {
  CloseSlot(sequence);
  const auto blocks = absl::MakeConstSpan(sequence.blocks);
  blocks_.Release(blocks.subspan(sequence.shared_blocks));
  blocks_.ReleaseShared(blocks.first(sequence.shared_blocks));
  sequence.blocks.clear();
  blocks_.Forgo(std::exchange(sequence.promised_blocks, 0));
}

void Reservations::Settle(Task& task) {
  bool changed = false;
  if (task.trunk != nullptr) prefixes_.Remember(*task.trunk);
  if (task.trunk != nullptr && task.trunk->slot >= 0 && task.trunk->pending() == 0) {
    CloseSlot(*task.trunk);
    changed = true;
  }
  for (size_t i = 0; i < task.sequences.size();) {
    Sequence& sequence = *task.sequences[i];
    prefixes_.Remember(sequence);
    if (sequence.pending() > 0) {
      ++i;
      continue;
    }
    if (!task.work.branches_are_scored) {
      expected_length_.Add(static_cast<int64_t>(sequence.generated().size()) + 1);
    }
    LetGo(sequence);
    task.sequences.erase(task.sequences.begin() + static_cast<std::ptrdiff_t>(i));
    changed = true;
  }
  if (changed) Promise(task);
}

void Reservations::Distrust(const Task& task) {
  if (task.trunk != nullptr) prefixes_.Forget(task.trunk->blocks);
  for (const auto& sequence : task.sequences) prefixes_.Forget(sequence->blocks);
}

void Reservations::Preempt(Task& task) {
  for (const auto& sequence : task.sequences) {
    LetGo(*sequence);
    sequence->shared_blocks = sequence->remembered = 0;
    sequence->prefix = kNoPrefix;
    sequence->is_extra = false;
    sequence->computed = sequence->start;
  }
  task.preempted.insert(task.preempted.begin(), std::make_move_iterator(task.sequences.begin()),
                        std::make_move_iterator(task.sequences.end()));
  task.sequences.clear();
  if (task.trunk != nullptr) task.trunk_reached = task.trunk->reached;
  Release(task);
  ++task.preemptions;
  Ask(task);
}

void Reservations::Release(Task& task) {
  for (const auto& sequence : task.sequences) LetGo(*sequence);
  task.sequences.clear();
  if (task.trunk != nullptr) LetGo(*task.trunk);
  task.trunk.reset();
  blocks_.Forgo(std::exchange(task.promised_blocks, 0));
  promised_sequences_ -= std::exchange(task.promised_sequences, 0);
}

}  // namespace peerage
