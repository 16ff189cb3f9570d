// What many callers cost each other, counted in steps.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/engine/inbox.h"
#include "server/engine/scheduler.h"
#include "tests/support/fake_clock.h"

namespace peerage {
namespace {

class OverloadTest : public ::testing::Test {
 protected:
  explicit OverloadTest(int32_t slots = 8) : slots_(slots) { Restart(); }

  // With an empty queue and a scheduler that knows nothing.
  void Restart() {
    inbox_ = std::make_unique<Inbox>(InboxLimits{.requests = kMostQueued}, &clock_);
    refused_.clear();
    scheduler_ =
        std::make_unique<Scheduler>(SchedulerOptions{.max_batch_tokens = 512,
                                                     .max_sequences = slots_,
                                                     .num_blocks = 4000,
                                                     .block_tokens = 16,
                                                     .slow_reader_timeout = absl::Seconds(5)});
  }

  // 0 when the queue is full.
  RequestHandle Add(Work work, const SchedulingParams& scheduling) {
    auto task = std::make_unique<Task>(++last_handle_, scheduling, std::move(work), 16);
    if (!inbox_->Add(std::move(task)).ok()) {
      ++refused_[scheduling.tenant];
      return 0;
    }
    begun_[last_handle_] = step_;
    return last_handle_;
  }

  // Generates so many tokens.
  RequestHandle Generate(int32_t prompt, int32_t tokens, const std::string& tenant = "") {
    prompts_.push_back(std::make_unique<std::vector<TokenId>>(prompt, 1));
    const RequestHandle handle =
        Add({.branches = {{.tokens = *prompts_.back(), .positions = prompt + tokens}}},
            {.tenant = tenant, .arrival = now()});
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
    for (auto& task : inbox_->Take().arrivals) scheduler_->Add(std::move(task), now());
    const Batch& batch = scheduler_->Schedule(now());
    inbox_->Count(scheduler_->TakeWaitingChanges());
    for (const auto& [sequence, tokens] : batch.chunks) {
      sequence->computed += tokens;
      if (sequence->pending() > 0 || sequence->is_trunk) continue;
      const auto left = left_.find(sequence->task->handle);
      if (left != left_.end() && --left->second > 0) sequence->tokens.push_back(1);
    }
    scheduler_->Settle(now());
    for (const EndedTask& end : scheduler_->TakeEnded()) {
      taken_[end.task->handle] = step_ - begun_[end.task->handle];
    }
  }

  // In steps, from its arrival to its end.
  int StepsUntilEnd(RequestHandle handle) {
    while (taken_.count(handle) == 0) Step();
    return taken_[handle];
  }

  absl::Time now() const { return absl::UnixEpoch() + step_ * absl::Milliseconds(10); }

  static constexpr int32_t kMostQueued = 128;

  const int32_t slots_;
  FakeClock clock_;
  std::unique_ptr<Inbox> inbox_;
  std::unique_ptr<Scheduler> scheduler_;
  std::map<std::string, int> refused_;  // calls, by tenant
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

// What runs has half of the KV cache, and the first one that waits needs more than the rest.
TEST_F(OverloadTest, SmallCallsPassALargeOneAsIfItWereNotThere) {
  Generate(16 * 2000 - 1000, 1000);
  for (int i = 0; i < 100; ++i) Step();
  const int alone = StepsUntilEnd(Generate(10, 5));

  const RequestHandle large = Generate(16 * 2500 - 1000, 1000);
  for (int call = 0; call < 10; ++call) {
    EXPECT_LE(StepsUntilEnd(Generate(10, 5)), alone) << "call " << call;
  }
  EXPECT_EQ(taken_.count(large), 0u) << "it fits";
}

// Four tenants ask at random for a fifth each of a part of what the slots can compute, a fifth one
// for as much or for ten times as much; calls of equal length. The seed is fixed.
class GreedyTenantTest : public OverloadTest {
 protected:
  static constexpr int kPrompt = 10;
  static constexpr int kTokens = 40;

  GreedyTenantTest() : OverloadTest(64) {}

  // In steps: 99 of 100 calls of the four take no longer.
  int P99OfOthers(double load, double greed) {
    std::mt19937_64 random(7);
    const double share = load * 64 / kTokens / 5;  // calls a step
    std::vector<RequestHandle> others;
    for (int step = 0; step < 20'000; ++step) {
      for (int i = Draw(greed * share, random); i > 0; --i) Generate(kPrompt, kTokens, "greedy");
      for (const std::string tenant : {"a", "b", "c", "d"}) {
        for (int i = Draw(share, random); i > 0; --i) {
          const RequestHandle handle = Generate(kPrompt, kTokens, tenant);
          if (handle != 0) others.push_back(handle);
        }
      }
      Step();
      used_ += static_cast<int64_t>(scheduler_->running().size());
    }
    std::vector<int> steps;
    for (const RequestHandle handle : others) steps.push_back(StepsUntilEnd(handle));
    std::sort(steps.begin(), steps.end());
    return steps[steps.size() * 99 / 100];
  }

  static int Draw(double mean, std::mt19937_64& random) {
    return std::poisson_distribution<int>(mean)(random);
  }

  int64_t used_ = 0;  // slots, by steps
};

class LoadTest : public GreedyTenantTest, public ::testing::WithParamInterface<double> {};

TEST_P(LoadTest, ATenantThatAsksForTenTimesItsShareCostsOthersATenthOfTheirP99) {
  const int alike = P99OfOthers(GetParam(), 1);
  Restart();
  used_ = 0;
  const int beside_greed = P99OfOthers(GetParam(), 10);

  EXPECT_LE(beside_greed, 1.1 * alike) << "steps, " << alike << " when all ask for the same";
  EXPECT_GT(refused_["greedy"], 1000) << "it does not fill the queue";
  for (const std::string tenant : {"a", "b", "c", "d"}) EXPECT_EQ(refused_[tenant], 0) << tenant;
  EXPECT_GE(used_, 0.85 * 64 * 20'000) << "the greedy one has what the others leave";
}

INSTANTIATE_TEST_SUITE_P(Overload, LoadTest, ::testing::Values(0.5, 0.6, 0.7, 0.8, 0.9),
                         [](const auto& load) {
                           return absl::StrCat(static_cast<int>(100 * load.param), "Percent");
                         });

}  // namespace
}  // namespace peerage
