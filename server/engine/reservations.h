#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "model/language_model.h"
#include "server/engine/admission_policy.h"
#include "server/engine/batch.h"
#include "server/engine/block_pool.h"
#include "server/engine/expected_length.h"
#include "server/engine/kept_prefixes.h"
#include "server/engine/lack.h"
#include "server/engine/sequence.h"
#include "server/engine/task.h"

namespace peerage {

// Who holds which KV blocks and slots, and to whom more are promised: a task is promised what it
// asks (RequestNeeds), a sequence what it takes to its end, and blocks are taken as tokens are
// computed. A sequence begins with the blocks that hold the beginning of its tokens already.
//
// Threads: none; belongs to one scheduler.
class Reservations {
 public:
  struct Options {
    int32_t max_sequences = 0;
    int32_t num_blocks = 0;
    int32_t block_tokens = 1;
    bool keeps_prefixes = true;
    Admission admission = Admission::kReserve;
  };
  explicit Reservations(const Options& options);

  // Decides what the task is to be promised when it starts.
  void Ask(Task& task) const;

  Lack WhatLacks(const Task& task) const;
  // Promises to the task what it is to have of what it asks beside what its sequences have. To be
  // called once it lacks nothing; from then on it is kept up.
  void Promise(Task& task);
  // Promises to the task, which perhaps was promised too little, what it lacks to go on: each of
  // its sequences with one more token, or its next sequence where none is running. False when there
  // is not enough.
  bool LetGoOn(Task& task);
  // Starts the task's next sequence, if it has one that may start: with what is promised to the
  // task, or as an extra one with what is promised to nobody. Tells the batch.
  bool Start(Task& task, bool as_extra, Batch& batch);
  // Takes the blocks for so many positions of the sequence, which are promised to it.
  void TakeBlocks(Sequence& sequence, int32_t positions);
  // Sequences with nothing pending let go of what they hold, a trunk of its slot alone.
  void Settle(Task& task);
  // What the task has computed is wrong, perhaps from the first token on: nobody is to find it.
  void Distrust(const Task& task);
  // Takes back everything, for the task to start again, then with all that it may need.
  void Preempt(Task& task);
  // Takes back everything.
  void Release(Task& task);

  // Slots that were let go of since this was last called.
  std::vector<SlotId> TakeClosed() { return std::exchange(closed_, {}); }

  const BlockPool& blocks() const { return blocks_; }
  int64_t num_available_sequences() const {
    return static_cast<int64_t>(free_slots_.size()) - promised_sequences_;
  }

 private:
  std::unique_ptr<Sequence> NextSequence(Task& task) const;
  int64_t BlocksToStart(const Task& task) const;
  bool Reserve(Task& task, int64_t blocks, bool as_extra);
  void BranchOff(Sequence& sequence, Batch& batch);
  bool PromiseUpTo(int64_t blocks, int64_t& promised);
  int64_t Margin() const;
  void CloseSlot(Sequence& sequence);
  void LetGo(Sequence& sequence);

  const Options options_;
  const bool firm_;  // what is promised suffices
  BlockPool blocks_;
  KeptPrefixes prefixes_;
  ExpectedLength expected_length_;
  std::vector<SlotId> free_slots_;
  int64_t promised_sequences_ = 0;
  std::vector<SlotId> closed_;
};

}  // namespace peerage
