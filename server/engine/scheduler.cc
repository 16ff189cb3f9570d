#include "server/engine/scheduler.h"

#include <algorithm>
#include <optional>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/status_macros.h"
#include "server/engine/admission.h"
#include "server/engine/deadline.h"
#include "server/engine/error_reason.h"

namespace peerage {
namespace {

absl::Status TooSlow(absl::string_view why) {
  absl::Status slow = absl::ResourceExhaustedError(absl::StrCat("the reader is too slow", why));
  SetErrorReason(slow, kSlowReader);
  return slow;
}

absl::Status Lateness(const Task& task, absl::Time now) {
  if (!task.started) RETURN_IF_ERROR(CheckMayStart(task.scheduling, now));
  if (now >= task.scheduling.deadline) {
    return absl::DeadlineExceededError("the deadline passed while the request was running");
  }
  return TooSlow("");
}

}  // namespace

Scheduler::Scheduler(const SchedulerOptions& options)
    : options_(options),
      reservations_({.max_sequences = options.max_sequences,
                     .num_blocks = options.num_blocks,
                     .block_tokens = options.block_tokens,
                     .keeps_prefixes = options.prefix_cache,
                     .admission = options.admission}),
      room_({.blocks = options.num_blocks, .sequences = options.max_sequences}, &line_) {}

void Scheduler::Add(std::unique_ptr<Task> task, absl::Time now) {
  tasks_.emplace(task->handle, task.get());
  task->patience = options_.slow_reader_timeout;
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

std::vector<std::unique_ptr<Task>> Scheduler::TakeUnstarted(const absl::Status& status,
                                                            absl::Time now) {
  std::vector<std::unique_ptr<Task>> taken;
  while (Task* const task = line_.front()) {
    if (task->started) {
      End(*task, status, now);
      continue;
    }
    expiries_.erase({task->expiry, task->handle});
    tasks_.erase(task->handle);
    taken.push_back(line_.Remove(*task, now));
    task->expiry = absl::InfiniteFuture();
    task->passed_since.reset();
    task->held_back_since.reset();
  }
  return taken;
}

void Scheduler::SetParked(Task& task, bool parked, absl::Time now) {
  if (!parked && task.behind_since) task.patience -= now - *task.behind_since;
  if (!parked) task.behind_since.reset();
  if (parked && !task.behind_since) task.behind_since = now;
  Park(task, parked);
}

void Scheduler::Park(Task& task, bool parked) {
  if (parked == task.parked) return;
  task.parked = parked;
  UpdateExpiry(task);
}

const Batch& Scheduler::Schedule(absl::Time now) {
  batch_.started.clear();
  batch_.copies.clear();
  batch_.chunks.clear();

  ExpireLate(now);
  MakeRoom(now);
  AdmitWaiting(now);
  HurryReaders(now);
  StartSequences();
  CollectWork();
  FillStep();
  return batch_;
}

void Scheduler::FillStep() {
  const int32_t budget = options_.max_batch_tokens;
  auto prefill = static_cast<int32_t>(std::min<int64_t>(prefill_tokens_, budget));
  if (!decodes_.empty() && prefill > 0) prefill = costs_.PrefillBesideDecodes(prefill);
  AddDecodes(budget - (prefill_is_due_ ? std::min(prefill, std::max(budget / 2, 1)) : 0));
  const int32_t left = std::min(prefill, budget - static_cast<int32_t>(batch_.chunks.size()));
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
  while (!expiries_.empty() && expiries_.begin()->first <= now) {
    Task& task = *tasks_.at(expiries_.begin()->second);
    End(task, Lateness(task, now), now);
  }
}

// Everybody that runs can go on, or the youngest of the lowest priority does not run any more: of
// those that were never put back, if there are any, for the others are promised all they need.
void Scheduler::MakeRoom(absl::Time now) {
  if (options_.admission == Admission::kReserve) return;
  const auto is_stuck = [this](const auto& task) {
    return !task->parked && !reservations_.LetGoOn(*task);
  };
  while (std::any_of(running_.begin(), running_.end(), is_stuck)) {
    const auto last =
        std::max_element(running_.begin(), running_.end(), [](const auto& a, const auto& b) {
          const auto rank = [](const Task& task) {
            return std::tuple(task.scheduling.priority, task.preemptions == 0, task.handle);
          };
          return rank(*a) < rank(*b);
        });
    Preempt(**last, now);
  }
}

void Scheduler::Preempt(Task& task, absl::Time now) {
  room_.GiveBack(task, now);
  reservations_.Preempt(task);
  ++num_preemptions_;
  // Where it waits, nobody looks at its reader, who is not to be blamed for that time.
  if (task.behind_since) task.patience -= now - *task.behind_since;
  task.least_patience.reset();
  Park(task, false);
  line_.Return(TakeFromRunning(task));
}

std::unique_ptr<Task> Scheduler::TakeFromRunning(Task& task) {
  const auto place = std::find_if(running_.begin(), running_.end(),
                                  [&task](const auto& other) { return other.get() == &task; });
  std::unique_ptr<Task> taken = std::move(*place);
  running_.erase(place);
  return taken;
}

absl::Time Scheduler::NextExpiry() const {
  return expiries_.empty() ? hurry_end_ : std::min(expiries_.begin()->first, hurry_end_);
}

void Scheduler::UpdateExpiry(Task& task) {
  absl::Time expiry = task.scheduling.deadline;
  if (!task.started) expiry = std::min(expiry, task.scheduling.queue_deadline);
  if (task.parked) expiry = std::min(expiry, *task.behind_since + task.patience);
  if (expiry == task.expiry) return;
  expiries_.erase({task.expiry, task.handle});
  if (expiry != absl::InfiniteFuture()) expiries_.emplace(expiry, task.handle);
  task.expiry = expiry;
}

Lack Scheduler::front_lacks() const {
  const Task* const front = line_.front();
  return front == nullptr ? Lack::kNothing : reservations_.WhatLacks(*front);
}

void Scheduler::AdmitWaiting(absl::Time now) {
  const auto fit = [this, now](Task& task, bool passes) { return FitOf(task, passes, now); };
  while (Task* const next = line_.Next(now, fit)) {
    std::unique_ptr<Task> task = line_.Start(*next);
    room_.Take(*task, now);
    reservations_.Promise(*task);
    const auto place =
        std::upper_bound(running_.begin(), running_.end(), task,
                         [](const auto& a, const auto& b) { return a->order < b->order; });
    Task& admitted = **running_.insert(place, std::move(task));
    if (admitted.behind_since) {  // until somebody has looked at its reader
      admitted.behind_since = now;
      Park(admitted, true);
    }
    if (admitted.done()) End(admitted, absl::OkStatus(), now);  // there is nothing to compute
  }
}

const Task* Scheduler::WaitsForItsPart(absl::Time now) {
  return line_.FirstOfATenant([this, now](const Task& task) {
    return reservations_.WhatLacks(task) != Lack::kNothing && !room_.IsOverItsPart(task, now);
  });
}

void Scheduler::HurryReaders(absl::Time now) {
  hurry_end_ = absl::InfiniteFuture();
  while (const Task* const waiting = WaitsForItsPart(now)) {
    const RequestNeeds part = room_.PartBeside(*waiting);
    Task* slowest = nullptr;
    for (const auto& task : running_) {
      const absl::Duration left = task->patience - (now - task->behind_since.value_or(now));
      if (!room_.HoldsMoreThan(part, *task)) {
        task->least_patience.reset();
      } else if (!task->least_patience) {
        task->least_patience = left - options_.slow_reader_timeout / kHurry;
      }
      if (!task->least_patience || !task->behind_since) continue;
      const absl::Time end = now + (left - *task->least_patience);
      if (end > hurry_end_) continue;
      hurry_end_ = end;
      slowest = task.get();  // the youngest, of several
    }
    if (hurry_end_ > now) return;
    hurry_end_ = absl::InfiniteFuture();
    End(*slowest, TooSlow(": others wait for what it holds"), now);
    AdmitWaiting(now);
  }
  for (const auto& task : running_) task->least_patience.reset();
}

WaitingLine::Fit Scheduler::FitOf(Task& task, bool passes, absl::Time now) {
  reservations_.Ask(task);  // what is expected has changed since it came
  if (reservations_.WhatLacks(task) != Lack::kNothing) {
    return room_.HoldsMuch(task, now) ? WaitingLine::Fit::kLeavesRoom : WaitingLine::Fit::kLacks;
  }
  const RequestNeeds available = {.blocks = reservations_.blocks().num_available(),
                                  .sequences = reservations_.num_available_sequences()};
  return room_.MayTake(task, available, passes, now) ? WaitingLine::Fit::kFits
                                                     : WaitingLine::Fit::kLeavesRoom;
}

void Scheduler::End(Task& task, absl::Status status, absl::Time now) {
  reservations_.Release(task);
  expiries_.erase({task.expiry, task.handle});
  tasks_.erase(task.handle);

  if (std::unique_ptr<Task> waited = line_.Remove(task, now)) {
    ended_.push_back({std::move(waited), std::move(status)});
    return;
  }
  room_.GiveBack(task, now);
  line_.Leave(task, now);
  ended_.push_back({TakeFromRunning(task), std::move(status)});
}

void Scheduler::StartSequences() {
  for (const auto& task : running_) {
    if (task->parked) continue;
    while (reservations_.Start(*task, /*as_extra=*/false, batch_)) continue;
  }
  const bool more = std::any_of(running_.begin(), running_.end(), [](const auto& task) {
    return !task->parked && task->has_more_to_start();
  });
  if (line_.waiting().requests > 0 || !more) return;
  CollectWork();
  for (const auto& task : running_) {
    if (task->parked) continue;
    while (prefill_tokens_ < options_.max_batch_tokens &&
           reservations_.Start(*task, /*as_extra=*/true, batch_)) {
      prefill_tokens_ += task->sequences.back()->pending();
    }
  }
}

void Scheduler::Settle(absl::Time now) {
  for (size_t i = 0; i < running_.size();) {
    Task& task = *running_[i];
    reservations_.Settle(task);
    if (task.failure.ok() && !task.done()) {
      ++i;
    } else {
      if (!task.failure.ok()) reservations_.Distrust(task);
      End(task, task.failure, now);
    }
  }
}

void Scheduler::CollectWork() {
  for (auto* work : {&decodes_, &prefills_, &throughput_, &extras_}) work->clear();
  prefill_tokens_ = throughput_tokens_ = 0;
  for (const auto& task : running_) {
    if (task->parked) continue;
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
  int64_t pending = 0;
  for (const Sequence* sequence : prefills) pending += sequence->pending();
  if (pending > budget) {
    DivideAmong(prefills, budget);
    return budget;
  }
  for (Sequence* sequence : prefills) AddChunk(*sequence, sequence->pending());
  return static_cast<int32_t>(pending);
}

// Half of the budget goes to the shortest that are as urgent as the first: they do not wait until
// long ones are through, which go on with the other half.
void Scheduler::DivideAmong(const std::vector<Sequence*>& prefills, int32_t budget) {
  shares_.clear();
  by_pending_.clear();
  for (Sequence* sequence : prefills) shares_.push_back({.sequence = sequence});
  const auto priority = [](const Share& share) {
    return share.sequence->task->scheduling.priority;
  };
  for (Share& share : shares_) {
    if (priority(share) <= priority(shares_[0])) by_pending_.push_back(&share);
  }
  std::stable_sort(by_pending_.begin(), by_pending_.end(), [](const Share* a, const Share* b) {
    return a->sequence->pending() < b->sequence->pending();
  });
  const auto give = [](int32_t& left, Share& share) {
    const int32_t tokens = std::min(left, share.sequence->pending() - share.tokens);
    share.tokens += tokens;
    left -= tokens;
  };
  int32_t short_ones = budget / 2, left = budget - short_ones;
  for (Share* share : by_pending_) give(short_ones, *share);
  left += short_ones;
  for (Share& share : shares_) give(left, share);
  for (const Share& share : shares_) {
    if (share.tokens > 0) AddChunk(*share.sequence, share.tokens);
  }
}

void Scheduler::AddChunk(Sequence& sequence, int32_t tokens) {
  sequence.last_turn = ++last_turn_;
  reservations_.TakeBlocks(sequence, sequence.computed + tokens);
  batch_.chunks.push_back({.sequence = &sequence, .tokens = tokens});
  // What is computed anew was read before.
  const int32_t news = std::clamp(sequence.computed + tokens - sequence.reached, 0, tokens);
  absl::Duration& patience = sequence.task->patience;
  const bool is_hurried = sequence.task->least_patience.has_value();
  patience = std::min(options_.slow_reader_timeout,
                      patience + news * (is_hurried ? kTokenPatience / kHurry : kTokenPatience));
  if (sequence.decodes()) line_.Charge(*sequence.task, tokens);
  if (sequence.is_extra) extras_had_a_turn_ = true;
  if (sequence.task->started) return;
  sequence.task->started = true;
  UpdateExpiry(*sequence.task);
}

}  // namespace peerage
