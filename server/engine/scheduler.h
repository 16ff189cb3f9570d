#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "model/language_model.h"
#include "server/engine/batch.h"
#include "server/engine/reservations.h"
#include "server/engine/sequence.h"
#include "server/engine/step_costs.h"
#include "server/engine/task.h"
#include "server/engine/tenant_room.h"
#include "server/engine/waiting_line.h"

namespace peerage {

struct SchedulerOptions {
  int32_t max_batch_tokens = 0;  // per step, at least 1
  int32_t max_sequences = 0;     // computed at the same time, each in a slot of its own
  int32_t num_blocks = 0;
  int32_t block_tokens = 0;
  absl::Duration slow_reader_timeout;  // Scheduler::SetParked
  bool prefix_cache = true;
  Admission admission = Admission::kReserve;
};

// Which requests run, and which tokens of which sequences are computed next. A request waits in
// line (WaitingLine) until what it needs to reach its end can be promised to it (RequestNeeds), so
// nothing that runs is ever preempted or stuck, and until that leaves room for other tenants
// (TenantRoom). With optimistic admission it waits for what it is
// expected to need; where that turns out to be too little for those that run, the youngest of the
// lowest priority is preempted: it waits again, for all that it may need, and computes anew what it
// had computed, with the same results, of which nothing is delivered twice. Beyond its promise,
// branches may take what is available to run side by side, while a step has room and no request
// waits for admission.
//
// A step takes decodes first, one token each, then prefill chunks: half of what is left in the
// order in which they are due (TaskOrder), half for the shortest, which so do not wait for the long
// ones before them. Throughput work comes after what somebody waits for, and extra branches last.
// Whoever got nothing of one step gets up to half of the next: prefill beside decodes, which take
// turns when they are more than the budget, and throughput work beside the rest. So nothing
// starves. Beside decodes, prefill gets no more than what those can bear who wait for the next
// token of a stream (StepCosts), which now and then is a step without any.
//
// Threads: none; belongs to one worker. Pure policy: no lock, no clock, no call to a model.
// Cost: a turn is O(running sequences), whatever waits.
class Scheduler {
 public:
  explicit Scheduler(const SchedulerOptions& options);

  // The task waits from now on.
  void Add(std::unique_ptr<Task> task, absl::Time now);
  // The task ends as CancelledAt says. Nothing happens when there is none.
  void Cancel(RequestHandle handle, absl::Time now);
  // Every task ends so.
  void EndAll(const absl::Status& status, absl::Time now);
  // Hands over the waiting tasks that have not started: another scheduler may take them. Those that
  // wait again end with `status`, and what runs goes on.
  std::vector<std::unique_ptr<Task>> TakeUnstarted(const absl::Status& status, absl::Time now);
  // Whether the task's reader is behind: while it is, the task is not scheduled. It ends when that
  // takes too long, whether it is put back meanwhile or not: slow_reader_timeout at a time, less
  // what it took before, and kTokenPatience more for each token since. So a reader that takes a
  // token now and then comes to an end, too.
  static constexpr absl::Duration kTokenPatience = absl::Milliseconds(500);
  // While somebody waits for whom there is no room, although it would be within its tenant's part,
  // both are so many times less for the tasks of tenants that hold more than theirs. Of those that
  // are behind for too long then, only as many end as hold what is waited for.
  static constexpr int kHurry = 12;
  void SetParked(Task& task, bool parked, absl::Time now);

  // Ends what is late, admits what fits, starts sequences and fills the next step; empty when there
  // is nothing to compute. Valid until the next call.
  const Batch& Schedule(absl::Time now);

  // To be called when the last batch's chunks are computed (Sequence::computed) and their tokens
  // appended: what is finished, done or failed lets go of what it holds.
  void Settle(absl::Time now);

  // What the last batch cost to compute.
  void AddCost(absl::Duration duration, int32_t decode_tokens, int32_t prefill_tokens) {
    costs_.Add(duration, decode_tokens, prefill_tokens);
  }

  // What has ended since this was last called.
  std::vector<EndedTask> TakeEnded() { return std::exchange(ended_, {}); }
  // Slots that are to be closed before the next batch's are opened.
  std::vector<SlotId> TakeClosed() { return reservations_.TakeClosed(); }

  // Whether the task waits or runs here.
  bool Has(RequestHandle handle) const { return tasks_.count(handle) > 0; }

  // When Schedule would end a task if nothing else changes.
  absl::Time NextExpiry() const;

  // What the first waiting task still lacks.
  Lack front_lacks() const;

  int64_t num_preemptions() const { return num_preemptions_; }

  // In their order.
  absl::Span<const std::unique_ptr<Task>> running() const { return running_; }
  const Waiting& waiting() const { return line_.waiting(); }
  std::vector<WaitingChange> TakeWaitingChanges() { return line_.TakeChanges(); }
  int64_t share_gap() const { return line_.share_gap(); }
  const Reservations& reservations() const { return reservations_; }

 private:
  void ExpireLate(absl::Time now);
  void Park(Task& task, bool parked);
  void MakeRoom(absl::Time now);
  void Preempt(Task& task, absl::Time now);
  void AdmitWaiting(absl::Time now);
  void HurryReaders(absl::Time now);
  const Task* WaitsForItsPart(absl::Time now);
  WaitingLine::Fit FitOf(Task& task, bool passes, absl::Time now);
  void End(Task& task, absl::Status status, absl::Time now);
  void UpdateExpiry(Task& task);
  std::unique_ptr<Task> TakeFromRunning(Task& task);

  void StartSequences();
  void CollectWork();
  void Collect(Sequence& sequence);
  void FillStep();
  void AddDecodes(int32_t limit);
  int32_t AddPrefills(const std::vector<Sequence*>& prefills, int32_t budget);
  void DivideAmong(const std::vector<Sequence*>& prefills, int32_t budget);
  void AddChunk(Sequence& sequence, int32_t tokens);

  const SchedulerOptions options_;
  StepCosts costs_;
  Reservations reservations_;
  std::unordered_map<RequestHandle, Task*> tasks_;  // waiting and running
  WaitingLine line_;
  TenantRoom room_;
  std::vector<std::unique_ptr<Task>> running_;
  std::set<std::pair<absl::Time, RequestHandle>> expiries_;
  std::vector<EndedTask> ended_;
  absl::Time hurry_end_ = absl::InfiniteFuture();  // when one ends for somebody who waits

  int64_t num_preemptions_ = 0;
  uint64_t last_turn_ = 0;
  bool prefill_is_due_ = false;     // the last step left prefill without any token
  bool throughput_is_due_ = false;  // the last step left throughput work without any token
  bool extras_are_due_ = false;     // the last one with throughput work left extra ones without any
  bool extras_had_a_turn_ = false;  // in this step
  Batch batch_;
  // What runs and is not parked, with pending tokens.
  std::vector<Sequence*> decodes_;
  std::vector<Sequence*> prefills_;    // that somebody waits for
  std::vector<Sequence*> throughput_;  // extra branches last
  std::vector<Sequence*> extras_;      // until they are in throughput_
  // Of a step's budget for prompts.
  struct Share {
    Sequence* sequence = nullptr;
    int32_t tokens = 0;
  };
  std::vector<Share> shares_;
  std::vector<Share*> by_pending_;
  int64_t prefill_tokens_ = 0;     // pending in prefills_ and throughput_
  int64_t throughput_tokens_ = 0;  // pending in throughput_
};

}  // namespace peerage
