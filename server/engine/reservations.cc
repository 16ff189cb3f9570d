#include "server/engine/reservations.h"

#include <algorithm>
#include <cassert>

namespace peerage {
namespace {

// What the sequence has of its task's needs: shared blocks are the trunk's.
int64_t OwnBlocks(const Sequence& sequence) {
  return static_cast<int64_t>(sequence.blocks.size()) - sequence.shared_blocks +
         sequence.promised_blocks;
}

}  // namespace

Reservations::Reservations(const Capacity& capacity)
    : block_tokens_(capacity.block_tokens), blocks_(capacity.num_blocks) {
  for (SlotId slot = capacity.max_sequences - 1; slot >= 0; --slot) free_slots_.push_back(slot);
}

Lack Reservations::WhatLacks(const Task& task) const {
  if (task.needs.sequences > num_available_sequences()) return Lack::kSequences;
  return task.needs.blocks > blocks_.num_available() ? Lack::kBlocks : Lack::kNothing;
}

void Reservations::Promise(Task& task) {
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
    ++task.num_started;
    task.sequences.push_back(std::move(next));
    if (task.trunk != nullptr) BranchOff(started, batch);
  }
  Promise(task);
  batch.started.push_back(&started);
  return true;
}

// What the next sequence needs beside the blocks that it will have of its trunk.
int64_t Reservations::BlocksToStart(const Task& task) const {
  const auto trunk = static_cast<int64_t>(task.work.trunk.size());
  if (task.trunk_is_next()) return BlocksFor(trunk, block_tokens_);
  const int64_t blocks = BlocksFor(task.work.branches[task.num_started].positions, block_tokens_);
  if (task.trunk == nullptr) return blocks;
  const bool takes_over = task.num_started + 1 == task.work.branches.size();
  return blocks -
         (takes_over ? static_cast<int64_t>(task.trunk->blocks.size()) : trunk / block_tokens_);
}

// Takes a sequence's promise: one of its task's, or a new one of what is available.
bool Reservations::Reserve(Task& task, int64_t blocks, bool as_extra) {
  if (as_extra) {
    if (num_available_sequences() < 1 || blocks_.num_available() < blocks) return false;
    blocks_.Promise(blocks);
    return true;
  }
  // A task to which a sequence is promised has the blocks to go with it: see Promise.
  if (task.promised_sequences < 1) return false;
  assert(blocks <= task.promised_blocks);
  task.promised_blocks -= blocks;
  --task.promised_sequences;
  --promised_sequences_;
  return true;
}

std::unique_ptr<Sequence> Reservations::NextSequence(Task& task) const {
  auto sequence = std::make_unique<Sequence>();
  sequence->task = &task;
  if (task.trunk_is_next()) {
    sequence->is_trunk = true;
    sequence->tokens.assign(task.work.trunk.begin(), task.work.trunk.end());
    sequence->given = static_cast<int32_t>(sequence->tokens.size());
  } else {
    const Work::Branch& branch = task.work.branches[task.num_started];
    sequence->index = branch.index;
    sequence->start = static_cast<int32_t>(task.work.trunk.size());
    sequence->tokens.assign(branch.tokens.begin(), branch.tokens.end());
    sequence->given = static_cast<int32_t>(branch.tokens.size());
    sequence->tokens.insert(sequence->tokens.end(), branch.generated.begin(),
                            branch.generated.end());
  }
  sequence->computed = sequence->start;
  return sequence;
}

// Shares the trunk's full blocks and goes on in a copy of its partial one, or in that one itself
// when nobody else will.
void Reservations::BranchOff(Sequence& sequence, Batch& batch) {
  Task& task = *sequence.task;
  Sequence& trunk = *task.trunk;
  if (!task.has_more_to_start()) {
    sequence.blocks = std::move(trunk.blocks);
    task.trunk.reset();
    return;
  }
  sequence.shared_blocks = sequence.start / block_tokens_;
  const auto shared = absl::MakeSpan(trunk.blocks).first(sequence.shared_blocks);
  blocks_.Share(shared);
  sequence.blocks.assign(shared.begin(), shared.end());
  if (sequence.start % block_tokens_ == 0) return;
  TakeBlocks(sequence, sequence.start);
  batch.copies.push_back(
      {.from = trunk.blocks[sequence.shared_blocks], .to = sequence.blocks.back()});
}

void Reservations::TakeBlocks(Sequence& sequence, int32_t positions) {
  const int64_t blocks = BlocksFor(positions, block_tokens_);
  while (static_cast<int64_t>(sequence.blocks.size()) < blocks) {
    assert(sequence.promised_blocks > 0);
    --sequence.promised_blocks;
    sequence.blocks.push_back(blocks_.Take());
  }
}

void Reservations::CloseSlot(Sequence& sequence) {
  if (sequence.slot < 0) return;
  closed_.push_back(sequence.slot);
  free_slots_.push_back(std::exchange(sequence.slot, -1));
}

void Reservations::LetGo(Sequence& sequence) {
  CloseSlot(sequence);
  blocks_.Release(sequence.blocks);
  sequence.blocks.clear();
  blocks_.Forgo(std::exchange(sequence.promised_blocks, 0));
}

void Reservations::Settle(Task& task) {
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

void Reservations::Release(Task& task) {
  for (const auto& sequence : task.sequences) LetGo(*sequence);
  task.sequences.clear();
  if (task.trunk != nullptr) LetGo(*task.trunk);
  task.trunk.reset();
  blocks_.Forgo(std::exchange(task.promised_blocks, 0));
  promised_sequences_ -= std::exchange(task.promised_sequences, 0);
}

}  // namespace peerage
