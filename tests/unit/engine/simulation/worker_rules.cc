#include "tests/unit/engine/simulation/worker_rules.h"

#include <algorithm>

namespace peerage {
namespace {

constexpr uint32_t kMostPreemptions = 50;

void SetSalt(const Sequence& sequence, HashModel& model) {
  if (sequence.slot < 0) return;
  model.SetSalt(sequence.slot, sequence.task->scheduling.cache_salt.size());
}

}  // namespace

SchedulerOptions SchedulerOptionsOf(const World& world) {
  return {.max_batch_tokens = world.max_batch_tokens,
          .max_sequences = world.max_sequences,
          .num_blocks = world.num_blocks,
          .block_tokens = world.block_tokens,
          .slow_reader_timeout = world.slow_reader_timeout,
          .prefix_cache = world.prefix_cache,
          .admission = world.optimistic ? Admission::kOptimistic : Admission::kReserve};
}

void MarkRunning(const Scheduler& scheduler, HashModel& model, absl::Span<Client> clients) {
  for (const auto& task : scheduler.running()) {
    clients[task->handle - 1].runs = true;
    for (const auto& sequence : task->sequences) SetSalt(*sequence, model);
    if (task->trunk != nullptr) SetSalt(*task->trunk, model);
  }
}

uint32_t CountPreemptions(Client& client, const World& world, Ledger& ledger, Verdict& verdict) {
  const uint32_t more = client.task->preemptions - client.preemptions;
  if (more == 0) return 0;
  const RequestHandle handle = client.arrival->handle;
  verdict.Require(world.optimistic, "request ", handle, " is thrown out");
  client.preemptions += more;
  client.reader->ExpectPreemptions(client.preemptions);
  ledger.preemptions += more;
  verdict.Require(client.preemptions <= kMostPreemptions, "request ", handle,
                  " is thrown out again and again");
  return more;
}

void CheckNothingToDo(const Scheduler& scheduler, Verdict& verdict) {
  for (const auto& task : scheduler.running()) {
    verdict.Require(task->parked, "nothing is computed, and request ", task->handle, " could be");
  }
  const bool waits = scheduler.waiting().requests > 0;
  verdict.Require(!waits || !scheduler.running().empty(), "nothing runs, and a request waits");
}

void CheckStatus(const Worker& worker, const HashModel& model, Verdict& verdict) {
  const Scheduler& scheduler = worker.scheduler();
  const BlockPool& blocks = scheduler.reservations().blocks();
  int64_t slots = 0, parked = 0;
  for (const auto& task : scheduler.running()) {
    slots += task->trunk != nullptr && task->trunk->slot >= 0;
    slots += static_cast<int64_t>(task->sequences.size());
    parked += task->parked;
  }
  const WorkerStatus status = worker.status();
  verdict.Require(
      status.requests_running == static_cast<int>(scheduler.running().size()) &&
          status.requests_parked == parked && status.preemptions == scheduler.num_preemptions() &&
          status.kv_blocks_cached == std::min(blocks.num_kept(), status.kv_blocks_free) &&
          status.kv_blocks_free == blocks.num_available(),
      "the status is not how things stand");
  verdict.Require(model.num_open_slots() == slots, slots, " sequences have slots, ",
                  model.num_open_slots(), " are open");
}

}  // namespace peerage
