// What an engine costs around its model: microseconds of a turn in which so many streams decode a
// token each. "schedule" is the scheduler alone (choose, take blocks, settle), "turn" the worker's
// whole turn without the model's step: scheduling, rows, tokens to text, and sinks and an observer
// that do nothing. Prints one JSON object. Processor time of the thread, so that others may run
// beside it.
#include <time.h>

#include <algorithm>
#include <iostream>
#include <memory>
#include <vector>

#include "base/lock_order.h"
#include "bench/serving/instant_model.h"
#include "nlohmann/json.hpp"
#include "server/engine/generate_delivery.h"
#include "server/engine/inbox.h"
#include "server/engine/worker.h"
#include "tests/support/fake_tokenizer.h"

namespace peerage {
namespace {

constexpr int kTurns = 1000;
constexpr int kPrompt = 16;
constexpr int kPositions = kPrompt + kTurns + 100;
constexpr int kBlockTokens = 16;

double CpuMicroseconds() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return 1e6 * static_cast<double>(time.tv_sec) + 1e-3 * static_cast<double>(time.tv_nsec);
}

double Median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

class NoSink final : public ResponseSink {
 public:
  void OnStarted(uint32_t cached_tokens) override {}
  void OnDone(absl::Status status, const Timings& timings) override {}
};

// An instant model that knows how much of the thread's time it has taken.
class TimedModel final : public LanguageModel {
 public:
  explicit TimedModel(int streams)
      : model_({.block_tokens = kBlockTokens,
                .num_blocks = streams * (kPositions / kBlockTokens + 1),
                .num_slots = streams,
                .max_step_tokens = 512},
               FakeTokenizer::kVocabSize, kPositions) {}

  const ModelDescription& description() const override { return model_.description(); }
  const ModelCapacity& capacity() const override { return model_.capacity(); }
  void Open(SlotId slot, const SlotState& state) override {}
  void Close(SlotId slot) override {}
  absl::StatusOr<StepOutput> Step(const StepInput& input) override {
    const double begin = CpuMicroseconds();
    absl::StatusOr<StepOutput> output = model_.Step(input);
    microseconds_ += CpuMicroseconds() - begin;
    return output;
  }
  UsageTotals ReadUsage(int expert_layer, absl::Span<ExpertCount> counts) override { return {}; }
  void ReadSubKeys(int expert_layer, absl::Span<uint64_t> counts) override {}
  void ClearUsage() override {}

  double microseconds() const { return microseconds_; }

 private:
  InstantModel model_;
  double microseconds_ = 0;
};

GenerateRequest Request() {
  return {.prompt = std::vector<TokenId>(kPrompt, 1),
          .stopping = {.max_tokens = kPositions - kPrompt}};
}

std::unique_ptr<Task> NewTask(RequestHandle handle, const ModelFacts& facts) {
  auto delivery = std::make_unique<GenerateDelivery>(Request(), std::make_shared<NoSink>(), facts);
  const GenerateRequest& request = delivery->request();
  auto task = std::make_unique<Task>(handle, request.scheduling, WorkOf(request), kBlockTokens);
  task->prompt_tokens = kPrompt;
  task->delivery = std::move(delivery);
  return task;
}

SchedulerOptions OptionsFor(const ModelCapacity& capacity) {
  return {.max_batch_tokens = capacity.max_step_tokens,
          .max_sequences = capacity.num_slots,
          .num_blocks = capacity.num_blocks,
          .block_tokens = capacity.block_tokens,
          .slow_reader_timeout = absl::Seconds(5)};
}

// A turn of the scheduler alone.
double ScheduleMicroseconds(int streams) {
  const FakeTokenizer tokenizer;
  const TimedModel model(streams);
  Scheduler scheduler(OptionsFor(model.capacity()));
  const absl::Time now = Clock::Real().Now();
  for (int i = 0; i < streams; ++i) scheduler.Add(NewTask(i + 1, {&tokenizer}), now);
  std::vector<double> turns;
  for (int turn = 0; turn < kTurns; ++turn) {
    const double begin = CpuMicroseconds();
    const Batch& batch = scheduler.Schedule(now);
    const double scheduled = CpuMicroseconds();
    for (const auto& [sequence, tokens] : batch.chunks) {
      sequence->computed += tokens;
      if (sequence->pending() == 0) sequence->tokens.push_back(1);
    }
    const double computed = CpuMicroseconds();
    scheduler.Settle(now);
    turns.push_back(scheduled - begin + CpuMicroseconds() - computed);
  }
  return Median(turns);
}

// A turn of the worker without its model.
double TurnMicroseconds(int streams) {
  const FakeTokenizer tokenizer;
  TimedModel model(streams);
  EngineObserver observer;
  Inbox inbox({.requests = streams}, &Clock::Real());
  Worker worker({.model = &model, .clock = &Clock::Real(), .observer = &observer, .inbox = &inbox},
                OptionsFor(model.capacity()));
  for (int i = 0; i < streams; ++i) {
    if (!inbox.Add(NewTask(i + 1, {&tokenizer})).ok()) std::exit(1);
  }
  std::vector<double> turns;
  for (int turn = 0; turn < kTurns; ++turn) {
    const double begin = CpuMicroseconds(), model_before = model.microseconds();
    worker.Turn();
    turns.push_back(CpuMicroseconds() - begin - (model.microseconds() - model_before));
  }
  return Median(turns);
}

}  // namespace
}  // namespace peerage

int main() {
  peerage::LeaveLockOrderUnchecked();
  nlohmann::ordered_json json;
  for (const int streams : {1, 16, 64, 256}) {
    json[std::to_string(streams)] = {{"schedule_us", peerage::ScheduleMicroseconds(streams)},
                                     {"turn_us", peerage::TurnMicroseconds(streams)}};
  }
  std::cout << json.dump() << std::endl;
}
