#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "model/language_model.h"
#include "server/engine/block_pool.h"
#include "server/engine/sequence.h"
#include "server/engine/task.h"

namespace peerage {

struct SchedulerOptions {
  int32_t max_batch_tokens = 0;  // per step, at least 1
  int32_t max_sequences = 0;     // computed at the same time, each in a slot of its own
  int32_t num_blocks = 0;
  int32_t block_tokens = 0;
  absl::Duration slow_reader_timeout;
};

struct ScheduledChunk {
  Sequence* sequence = nullptr;
  int32_t tokens = 0;  // the next ones, at least 1
};

// One step.
struct Batch {
  std::vector<Sequence*> started;  // whose slots are to be opened before the step
  std::vector<BlockCopy> copies;
  std::vector<ScheduledChunk> chunks;  // at most one of a sequence
};

// Which requests run, which tokens of which sequences are computed next, and who holds which KV
// blocks and slots. A request waits, in order of priority and arrival, until what it needs to reach
// its end can be promised to it (RequestNeeds), so nothing that runs is ever preempted or stuck.
// Beyond that, branches may take what is available to run side by side, while a step has room and
// no request waits for admission.
//
// A step takes decodes first, one token each, then prefill chunks in order of priority and arrival,
// those of extra branches last. When decodes are more than the budget they take turns, and a step
// that leaves prefill without any token is followed by one that gives it up to half, so neither
// starves the other.
//
// Threads: none; belongs to one worker. Pure policy: no lock, no clock, no call to a model.
// Cost: a turn is O(running sequences), whatever waits.
class Scheduler {
 public:
  explicit Scheduler(const SchedulerOptions& options);

  // The task waits from now on.
  void Add(std::unique_ptr<Task> task);
  // The task ends as CancelledAt says. Nothing happens when there is none.
  void Cancel(RequestHandle handle, absl::Time now);
  // Every task ends so.
  void EndAll(const absl::Status& status);
  // Whether the task's reader keeps up: while not, the task is not scheduled, and ends when that
  // takes too long.
  void SetParked(Task& task, bool parked, absl::Time now);

  // Ends what is late, admits what fits, starts sequences and fills the next step; empty when there
  // is nothing to compute. Valid until the next call.
  const Batch& Schedule(absl::Time now);

  // To be called when the last batch's chunks are computed (Sequence::computed) and their tokens
  // appended: what is finished, done or failed lets go of what it holds.
  void Settle();

  // What has ended since this was last called.
  std::vector<EndedTask> TakeEnded() { return std::exchange(ended_, {}); }
  // Slots that are to be closed before the next batch's are opened.
  std::vector<SlotId> TakeClosed() { return std::exchange(closed_, {}); }

  // When Schedule would end a task if nothing else changes.
  absl::Time NextExpiry() const;

  // What the first waiting task still lacks: sequences, before blocks.
  enum class Lack { kNothing, kSequences, kBlocks };
  Lack front_lacks() const;

  // In order of priority, then arrival.
  absl::Span<const std::unique_ptr<Task>> running() const { return running_; }
  int32_t num_waiting() const { return static_cast<int32_t>(waiting_.size()); }
  int64_t waiting_prompt_tokens() const { return waiting_prompt_tokens_; }
  const BlockPool& blocks() const { return blocks_; }
  int64_t num_available_sequences() const {
    return static_cast<int64_t>(free_slots_.size()) - promised_sequences_;
  }

 private:
  using Order = std::pair<int32_t, RequestHandle>;  // priority, order of submission
  static Order OrderOf(const Task& task) { return {task.scheduling.priority, task.handle}; }

  Lack WhatLacks(const Task& task) const;
  void ExpireLate(absl::Time now);
  void AdmitWaiting();
  void End(Task& task, absl::Status status);
  void UpdateExpiry(Task& task);

  // Promises to the task what it is to have of its needs beside what its sequences have.
  void Promise(Task& task);
  void StartSequences();
  bool TryStart(Task& task, bool as_extra);
  std::unique_ptr<Sequence> NextSequence(Task& task) const;
  void BranchOff(Sequence& sequence, bool is_last);
  void TakeBlocks(Sequence& sequence, int32_t positions);
  void CloseSlot(Sequence& sequence);
  void LetGo(Sequence& sequence);
  void SettleSequences(Task& task);

  void CollectWork();
  void AddDecodes(int32_t limit);
  void AddPrefills(int32_t budget);
  void AddChunk(Sequence& sequence, int32_t tokens);

  const SchedulerOptions options_;
  BlockPool blocks_;
  std::vector<SlotId> free_slots_;
  int64_t promised_sequences_ = 0;

  std::unordered_map<RequestHandle, Task*> tasks_;  // waiting and running
  std::map<Order, std::unique_ptr<Task>> waiting_;
  int64_t waiting_prompt_tokens_ = 0;
  std::vector<std::unique_ptr<Task>> running_;
  std::set<std::pair<absl::Time, RequestHandle>> expiries_;
  std::vector<EndedTask> ended_;
  std::vector<SlotId> closed_;

  uint64_t last_turn_ = 0;
  bool prefill_is_due_ = false;  // the last step left prefill without any token
  Batch batch_;
  std::vector<Sequence*> decodes_;
  std::vector<Sequence*> prefills_;  // extra ones last
  std::vector<Sequence*> extras_;    // until they are in prefills_
  int64_t prefill_tokens_ = 0;       // pending in prefills_
};

}  // namespace peerage
