// What many callers cost each other, counted in steps.
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "server/engine/scheduler.h"

namespace peerage {
namespace {

class OverloadTest : public ::testing::Test {
 protected:
  static constexpr int32_t kSlots = 8;

  RequestHandle Add(Work work, const SchedulingParams& scheduling) {
    auto task = std::make_unique<Task>(++last_handle_, scheduling, std::move(work), 16);
    begun_[last_handle_] = step_;
    scheduler_.Add(std::move(task), now());
    return last_handle_;
  }

  // Generates so many tokens.
  RequestHandle Generate(int32_t prompt, int32_t tokens) {
    prompts_.push_back(std::make_unique<std::vector<TokenId>>(prompt, 1));
    const RequestHandle handle =
        Add({.branches = {{.tokens = *prompts_.back(), .positions = prompt + tokens}}},
            {.arrival = now()});
    left_[handle] = tokens;
    return handle;
  }

  // A context of one token, and continuations.
  RequestHandle Score(int32_t continuations, int32_t tokens) {
    prompts_.push_back(std::make_unique<std::vector<TokenId>>(tokens, 1));
    const absl::Span<const TokenId> all = *prompts_.back();
    Work work{.trunk = all.first(1), .is_throughput = true};
    for (int32_t i = 0; i < continuations; ++i) {
      work.branches.push_back({.index = static_cast<uint32_t>(i),
                               .tokens = all.first(tokens - 1),
                               .positions = tokens});
    }
    return Add(std::move(work), {.arrival = now()});
  }

  void Step() {
    ++step_;
    for (const auto& [sequence, tokens] : scheduler_.Schedule(now()).chunks) {
      sequence->computed += tokens;
      if (sequence->pending() > 0 || sequence->is_trunk) continue;
      const auto left = left_.find(sequence->task->handle);
      if (left != left_.end() && --left->second > 0) sequence->tokens.push_back(1);
    }
    scheduler_.Settle(now());
    for (const EndedTask& end : scheduler_.TakeEnded()) {
      taken_[end.task->handle] = step_ - begun_[end.task->handle];
    }
  }

  // In steps, from its arrival to its end.
  int StepsUntilEnd(RequestHandle handle) {
    while (taken_.count(handle) == 0) Step();
    return taken_[handle];
  }

  absl::Time now() const { return absl::UnixEpoch() + step_ * absl::Milliseconds(10); }

  Scheduler scheduler_{{.max_batch_tokens = 512,
                        .max_sequences = kSlots,
                        .num_blocks = 4000,
                        .block_tokens = 16,
                        .slow_reader_timeout = absl::Seconds(5)}};
  int step_ = 0;
  RequestHandle last_handle_ = 0;
  std::vector<std::unique_ptr<std::vector<TokenId>>> prompts_;
  std::map<RequestHandle, int32_t> left_;
  std::map<RequestHandle, int> begun_, taken_;
};

TEST_F(OverloadTest, AHugeScoreCostsACallOfOneTokenThreeStepsAtMost) {
  const RequestHandle score = Score(1024, 129);
  for (int i = 0; i < 20; ++i) Step();

  for (int call = 0; call < 10; ++call) {
    EXPECT_LE(StepsUntilEnd(Generate(10, 1)), 3) << "call " << call;
  }
  EXPECT_EQ(taken_.count(score), 0u) << "it is over already";
  EXPECT_GT(StepsUntilEnd(score), 1024 * 128 / 512);
}

}  // namespace
}  // namespace peerage
