#include "tests/unit/engine/simulation/step_rules.h"

#include <algorithm>
#include <array>

namespace peerage {
namespace {

// Prompts wait for what decodes earn for them, and for a turn beside decodes that fill steps.
// Throughput work stands behind prefill: each has to wait for its turn, and once more for the
// other's.
constexpr int kStepsWithoutPrefill = StepCosts::kMostAlone + 1;
constexpr int kStepsWithoutThroughput = 4 * kStepsWithoutPrefill;

}  // namespace

StepRules::StepRules(const World& world, Verdict* verdict, Coverage* coverage)
    : world_(world),
      verdict_(*verdict),
      coverage_(*coverage),
      running_(world.max_sequences),
      in_step_(world.max_sequences),
      steps_without_(world.max_sequences) {}

void StepRules::Check(const StepInput& input, const Scheduler& scheduler,
                      absl::Span<Client> clients, absl::Time now) {
  running_.assign(world_.max_sequences, nullptr);
  in_step_.assign(world_.max_sequences, 0);
  for (const auto& task : scheduler.running()) {
    if (task->trunk != nullptr) Look(*task->trunk);
    for (const auto& sequence : task->sequences) Look(*sequence);
    coverage_.parked += task->parked;
  }
  checked_ = {.sequences = static_cast<int32_t>(input.chunks.size())};
  for (const Chunk& chunk : input.chunks) {
    const bool runs = chunk.slot >= 0 && chunk.slot < world_.max_sequences &&
                      running_[chunk.slot] != nullptr && !in_step_[chunk.slot];
    verdict_.Require(runs, "a chunk of slot ", chunk.slot, ", where nothing runs");
    if (!runs) return;
    in_step_[chunk.slot] = 1;
    const Sequence& sequence = *running_[chunk.slot];
    (sequence.decodes() ? checked_.decode_tokens : checked_.prefill_tokens) +=
        static_cast<int32_t>(chunk.tokens.size());
    CheckChunk(chunk, clients[sequence.task->handle - 1], now);
  }
  const int32_t tokens = checked_.decode_tokens + checked_.prefill_tokens;
  verdict_.Require(tokens >= 1 && tokens <= world_.max_batch_tokens, "a step of ", tokens,
                   " tokens");
  CheckTurns();
  ++coverage_.steps;
  coverage_.full_steps += tokens == world_.max_batch_tokens;
}

void StepRules::Look(const Sequence& sequence) {
  coverage_.extra_sequences += sequence.is_extra;
  if (sequence.slot < 0) return;
  const bool is_free = sequence.slot < world_.max_sequences && running_[sequence.slot] == nullptr;
  verdict_.Require(is_free, "slot ", sequence.slot, " has two sequences");
  if (is_free) running_[sequence.slot] = &sequence;
}

void StepRules::CheckChunk(const Chunk& chunk, const Client& client, absl::Time now) {
  const Sequence& sequence = *running_[chunk.slot];
  const auto count = static_cast<int32_t>(chunk.tokens.size());
  verdict_.Require(chunk.first_position == sequence.computed && count <= sequence.pending() &&
                       chunk.tokens == sequence.Next(count) &&
                       chunk.blocks == absl::MakeConstSpan(sequence.blocks),
                   "a chunk of request ", client.arrival->handle, " is not what is next of it");
  verdict_.Require(now < client.deadline && (client.reader->begun() || now < client.queue_deadline),
                   "request ", client.arrival->handle, " is in a step after its deadline");
  verdict_.Require(!client.reader->done(), "request ", client.arrival->handle,
                   " is in a step after its end");
  verdict_.Require(!sequence.task->parked, "request ", client.arrival->handle,
                   " is in a step while its reader is behind");
}

StepRules::Work StepRules::WorkOf(const Sequence& sequence) {
  if (sequence.decodes()) return kDecode;
  return sequence.task->work.is_throughput ? kThroughput : kPrefill;
}

void StepRules::CheckTurns() {
  std::array<bool, 3> waits = {}, has = {};
  const Task* first = nullptr;  // of those that prefill is for
  bool has_first = false;
  for (size_t slot = 0; slot < running_.size(); ++slot) {
    const Sequence* const sequence = running_[slot];
    const bool could = sequence != nullptr && !sequence->task->parked && sequence->pending() > 0;
    const Work work = could ? WorkOf(*sequence) : kDecode;
    if (could) (in_step_[slot] ? has : waits)[work] = true;
    if (could && work == kPrefill &&
        (first == nullptr || !(first->order < sequence->task->order))) {
      has_first = in_step_[slot] || (has_first && first == sequence->task);
      first = sequence->task;
    }
    const bool decode_waits = could && work == kDecode && !in_step_[slot];
    steps_without_[slot] = decode_waits ? steps_without_[slot] + 1 : 0;
    verdict_.Require(steps_without_[slot] <= 2 * world_.max_sequences + 2, "a decode starves");
  }
  verdict_.Require(!has[kPrefill] || has_first, "the first prompt waits for shorter ones");
  const bool has_prefill = has[kPrefill] || has[kThroughput];
  const bool prefill_waits = waits[kPrefill] || waits[kThroughput];
  steps_without_prefill_ = prefill_waits && !has_prefill ? steps_without_prefill_ + 1 : 0;
  verdict_.Require(steps_without_prefill_ <= kStepsWithoutPrefill, "prefill starves");
  const bool throughput_waits = waits[kThroughput] && !has[kThroughput];
  steps_without_throughput_ = throughput_waits ? steps_without_throughput_ + 1 : 0;
  verdict_.Require(steps_without_throughput_ <= kStepsWithoutThroughput, "throughput work starves");
}

void StepRules::Pause() {
  steps_without_.assign(world_.max_sequences, 0);
  steps_without_prefill_ = steps_without_throughput_ = 0;
}

void StepRules::CheckTold(const StepEvent& event) {
  verdict_.Require(event.prefill_tokens == checked_.prefill_tokens &&
                       event.decode_tokens == checked_.decode_tokens &&
                       event.sequences == checked_.sequences,
                   "the observer was told of a step of ", event.prefill_tokens, " and ",
                   event.decode_tokens, " tokens");
}

void StepRules::ChargeDecodes(const StepInput& input, absl::Span<const Client> clients,
                              LineRules& line) {
  for (const Chunk& chunk : input.chunks) {
    const Sequence& sequence = *running_[chunk.slot];
    if (sequence.decodes()) line.Charge(clients[sequence.task->handle - 1], 1);
  }
}

void StepRules::MarkFailing(const StepInput& input, bool as_a_whole,
                            absl::Span<const SlotId> opened, absl::Span<Client> clients) const {
  for (const SlotId slot : opened) {
    if (as_a_whole) clients[running_[slot]->task->handle - 1].may_fail = true;
  }
  for (const Chunk& chunk : input.chunks) {
    const bool poisoned = world_.poisoned && std::find(chunk.tokens.begin(), chunk.tokens.end(),
                                                       kPoison) != chunk.tokens.end();
    if (!as_a_whole && !poisoned) continue;
    Client& client = clients[running_[chunk.slot]->task->handle - 1];
    client.may_fail = client.must_fail = true;
  }
}

}  // namespace peerage
