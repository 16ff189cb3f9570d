#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "model/language_model.h"
#include "server/engine/block_allocator.h"
#include "server/engine/running_request.h"
#include "server/engine/sequence.h"

namespace peerage {

struct SchedulerOptions {
  int32_t max_batch_tokens = 0;  // per step, at least 1
  int32_t max_sequences = 0;     // computed at the same time
  int32_t num_slots = 0;
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
  std::vector<Sequence*> started;  // to be opened or forked before the step, in this order
  std::vector<BlockCopy> copies;
  std::vector<ScheduledChunk> chunks;  // at most one of a sequence
};

// Which tokens of which sequences are computed next, and who holds which KV blocks and slots.
//
// Admission reserves what a request needs to reach its end (RequestNeeds), so nothing that runs is
// ever preempted or stuck. Beyond that, continuations of a ScoreRequest may take what is free to
// run side by side, while a step has room and no request waits for admission; such extra slots and
// blocks are free again when the continuation ends.
//
// A step takes decodes first, one token each, then prefill chunks in order of priority and arrival.
// When decodes are more than the budget they take turns, and a step that leaves prefill without
// any token is followed by one that gives it up to half, so neither starves the other.
//
// Threads: none; belongs to one worker. Pure policy: no lock, no clock, no call to a model.
class Scheduler {
 public:
  explicit Scheduler(const SchedulerOptions& options);

  // What a request still waits for: sequences or slots, before blocks.
  enum class Lack { kNothing, kSlots, kBlocks };
  Lack WhatLacks(const RequestNeeds& needs) const;
  bool Fits(const RequestNeeds& needs) const { return WhatLacks(needs) == Lack::kNothing; }
  // Precondition: Fits(request->needs()).
  RunningRequest& Admit(std::unique_ptr<RunningRequest> request);

  // Starts sequences and fills the next step; empty when there is nothing to compute. Valid until
  // the next call. Precondition: what the last batch computed is told (Sequence::computed).
  const Batch& Schedule(bool requests_wait);

  // Takes back what the sequence holds, and destroys it.
  void Finish(Sequence& sequence);
  // Takes back everything that the request holds.
  std::unique_ptr<RunningRequest> Remove(RunningRequest& request);

  // Not OK when the request is to leave: its deadline has passed, or its reader is too slow.
  absl::Status CheckMayContinue(const RunningRequest& request, absl::Time now) const;
  // The first time at which CheckMayContinue may say something else, if nothing else changes.
  absl::Time NextExpiry() const;

  // In order of priority, then arrival.
  absl::Span<const std::unique_ptr<RunningRequest>> running() const { return running_; }
  int32_t num_blocks() const { return blocks_.num_blocks(); }
  int32_t num_free_blocks() const { return blocks_.num_free(); }

 private:
  enum class Source { kReserved, kFree };
  struct SlotAndBlocks {
    SlotId slot;
    std::vector<BlockId> blocks;
  };

  void StartSequences(bool requests_wait);
  bool TryStart(RunningRequest& request, Source source);
  std::optional<SlotAndBlocks> Take(ReservedResources& reserved, int32_t blocks, Source source);
  void GiveBack(Sequence& sequence);
  void ReleaseReserved(RunningRequest& request);
  void CollectWork();
  void AddDecodes(int32_t limit);
  void AddPrefills(int32_t budget);
  void AddChunk(Sequence& sequence, int32_t tokens);

  const SchedulerOptions options_;
  BlockAllocator blocks_;
  std::vector<SlotId> free_slots_;
  int32_t free_sequences_;
  std::vector<std::unique_ptr<RunningRequest>> running_;

  uint64_t last_turn_ = 0;
  bool prefill_is_due_ = false;  // the last step left prefill without any token
  Batch batch_;
  std::vector<Sequence*> decodes_;
  std::vector<Sequence*> prefills_;
  int64_t prefill_tokens_ = 0;  // pending in prefills_
};

}  // namespace peerage
