#include "client/commands/many_calls.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <vector>

#include "absl/synchronization/barrier.h"

namespace peerage::client {
namespace {

using ::testing::ElementsAre;

TEST(CallManyTest, HandsAnswersOnInOrderThoughTheyComeInAnother) {
  absl::Mutex mu;
  int ended = 0;
  std::vector<int> answers;
  // The first call ends only after all others have.
  const auto call = [&](size_t i) -> absl::StatusOr<int> {
    absl::MutexLock lock(&mu);
    const auto others_ended = [&ended] { return ended == 3; };
    if (i == 0) mu.Await(absl::Condition(&others_ended));
    ++ended;
    return static_cast<int>(i);
  };
  CallMany<int>({.count = 4, .parallel = 2}, call, [&](size_t, const absl::StatusOr<int>& answer) {
    answers.push_back(*answer);
    return true;
  });
  EXPECT_THAT(answers, ElementsAre(0, 1, 2, 3));
}

TEST(CallManyTest, RunsSoManyAtOnce) {
  absl::Barrier* const all_run = new absl::Barrier(3);  // hangs unless three calls run
  const auto call = [all_run](size_t) -> absl::StatusOr<int> {
    if (all_run->Block()) delete all_run;
    return 0;
  };
  int received = 0;
  CallMany<int>({.count = 3, .parallel = 3}, call, [&](size_t, const auto&) { return ++received; });
  EXPECT_EQ(received, 3);
}

TEST(CallManyTest, BeginsNoMoreOnceNoAnswerIsWanted) {
  std::atomic<int> calls = 0;
  const auto call = [&calls](size_t) -> absl::StatusOr<int> {
    ++calls;
    return absl::InternalError("the model broke");
  };
  int received = 0;
  CallMany<int>({.count = 1'000'000, .parallel = 1}, call, [&](size_t, const auto& answer) {
    ++received;
    return answer.ok();
  });
  EXPECT_EQ(received, 1);
  EXPECT_LT(calls, 1'000'000);
}

}  // namespace
}  // namespace peerage::client
