#include "server/engine/inbox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "server/engine/retry_delay.h"
#include "tests/support/fake_clock.h"

namespace peerage {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::unique_ptr<Task> Make(RequestHandle handle, int64_t prompt_tokens = 1,
                           const std::string& tenant = "") {
  SchedulingParams scheduling;
  scheduling.tenant = tenant;
  auto task = std::make_unique<Task>(handle, scheduling, Work(), /*block_tokens=*/4);
  task->prompt_tokens = prompt_tokens;
  return task;
}

class InboxTest : public ::testing::Test {
 protected:
  std::vector<RequestHandle> TakeArrivals() {
    std::vector<RequestHandle> handles;
    for (const auto& task : inbox_.Take().arrivals) handles.push_back(task->handle);
    return handles;
  }

  // So many begin.
  void Cease(int64_t requests, int64_t prompt_tokens, const std::string& tenant = "") {
    inbox_.Count({{tenant, {-requests, -prompt_tokens}}});
  }

  FakeClock clock_;
  Inbox inbox_{{.requests = 4, .prompt_tokens = 100}, &clock_};
};

TEST_F(InboxTest, HandsOutOnceWhatArrivedInItsOrder) {
  ASSERT_TRUE(inbox_.Add(Make(2)).ok());
  ASSERT_TRUE(inbox_.Add(Make(1)).ok());

  EXPECT_THAT(TakeArrivals(), ElementsAre(2, 1));
  EXPECT_THAT(TakeArrivals(), IsEmpty());
}

TEST_F(InboxTest, HandsOutErrandsUntilItIsShutDown) {
  int runs = 0;
  const auto errand = [&](int, absl::Time) { ++runs; };
  ASSERT_TRUE(inbox_.Run(errand).ok());
  inbox_.WaitForMail(absl::InfiniteFuture());  // an errand is mail
  inbox_.Close();
  ASSERT_TRUE(inbox_.Run(errand).ok()) << "it drains, but still works";
  inbox_.Shutdown();
  EXPECT_EQ(inbox_.Run(errand).code(), absl::StatusCode::kUnavailable);

  EXPECT_FALSE(inbox_.finished()) << "two errands wait";
  inbox_.Take().errand(0, clock_.Now());
  EXPECT_EQ(runs, 1) << "one a turn";
  EXPECT_FALSE(inbox_.finished());
  inbox_.WaitForMail(absl::InfiniteFuture());  // the other one is mail still
  inbox_.Take().errand(0, clock_.Now());
  EXPECT_EQ(runs, 2);
  EXPECT_EQ(inbox_.Take().errand, nullptr);
  EXPECT_TRUE(inbox_.finished());
}

TEST_F(InboxTest, HasRoomForSoManyErrands) {
  for (size_t i = 0; i < Inbox::kMostErrands; ++i) {
    EXPECT_TRUE(inbox_.CheckErrandRoom().ok());
    ASSERT_TRUE(inbox_.Run([](int, absl::Time) {}).ok());
  }
  const absl::Status full = inbox_.CheckErrandRoom();
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(RetryDelayOf(full).has_value());
  inbox_.Take();
  EXPECT_TRUE(inbox_.CheckErrandRoom().ok());
}

// Those that the worker took and that still wait count, too.
TEST_F(InboxTest, RefusesWhenFullAndWhenClosed) {
  for (RequestHandle handle = 1; handle <= 4; ++handle) ASSERT_TRUE(inbox_.Add(Make(handle)).ok());
  EXPECT_EQ(inbox_.Add(Make(5)).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(TakeArrivals(), ElementsAre(1, 2, 3, 4));
  EXPECT_EQ(inbox_.num_waiting(), 4);
  EXPECT_EQ(inbox_.Add(Make(6)).code(), absl::StatusCode::kResourceExhausted);

  Cease(1, 1);
  EXPECT_EQ(inbox_.Add(Make(7)), absl::OkStatus());
  EXPECT_EQ(inbox_.num_waiting(), 4);
  inbox_.Close();
  EXPECT_EQ(inbox_.Add(Make(8)).code(), absl::StatusCode::kUnavailable);

  EXPECT_THAT(TakeArrivals(), ElementsAre(7));
}

TEST_F(InboxTest, CountsPromptTokensAsWell) {
  ASSERT_TRUE(inbox_.Add(Make(1, 1000)).ok()) << "alone it may be larger";
  EXPECT_EQ(inbox_.Add(Make(2, 1)).code(), absl::StatusCode::kResourceExhausted);
  inbox_.Take();
  Cease(1, 1000);
  ASSERT_TRUE(inbox_.Add(Make(2, 60)).ok());
  ASSERT_TRUE(inbox_.Add(Make(3, 40)).ok());
  EXPECT_EQ(inbox_.Add(Make(4, 1)).message(),
            "the queue is full: 100 prompt tokens are waiting, with 1 more they would be more than "
            "100");
  Cease(2, 100);
  EXPECT_TRUE(inbox_.Add(Make(5, 60)).ok());
}

// Four fill the queue; of whom less waits, another four at the most may wait beside them.
TEST_F(InboxTest, WhoeverFillsTheQueueFillsItForHimself) {
  const auto add = [&](const std::string& tenant) { return inbox_.Add(Make(1, 1, tenant)).ok(); };
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(add("greedy"));
  EXPECT_FALSE(add("greedy"));
  EXPECT_TRUE(add("modest"));
  EXPECT_TRUE(add("modest"));
  EXPECT_FALSE(add("modest")) << "it has its half";
  EXPECT_TRUE(add("third"));
  EXPECT_FALSE(add("third")) << "it has its third, rounded down";
  EXPECT_TRUE(add("fourth"));
  EXPECT_FALSE(add("fifth")) << "twice as many as may wait";

  Cease(3, 3, "greedy");
  EXPECT_FALSE(add("greedy")) << "five wait, and it has its part";
  Cease(1, 1, "greedy");
  EXPECT_TRUE(add("greedy")) << "four wait, and nothing of its own";
  Cease(2, 2, "modest");
  EXPECT_TRUE(add("greedy")) << "three waited";
}

TEST_F(InboxTest, WhoeverFillsTheQueueWithTokensFillsItForHimself) {
  const auto add = [&](const std::string& tenant, int64_t tokens) {
    return inbox_.Add(Make(1, tokens, tenant)).ok();
  };
  ASSERT_TRUE(add("greedy", 100));
  EXPECT_FALSE(add("greedy", 1));
  EXPECT_TRUE(add("modest", 40));
  EXPECT_FALSE(add("modest", 11)) << "with that it would have more than half";
  EXPECT_TRUE(add("modest", 10));
  EXPECT_FALSE(add("third", 51)) << "with that it would be more than twice as many as may wait";
  EXPECT_TRUE(add("third", 50)) << "one alone may have more than its part";
}

// As long as what waits takes to start at the pace of late.
TEST_F(InboxTest, SaysWhenToTryAgain) {
  const auto delay = [this] { return RetryDelayOf(inbox_.Add(Make(99))); };
  for (RequestHandle handle = 1; handle <= 4; ++handle) ASSERT_TRUE(inbox_.Add(Make(handle)).ok());
  EXPECT_EQ(delay(), absl::Seconds(1)) << "nothing has started yet";
  inbox_.Take();
  Cease(0, 0);
  clock_.Advance(absl::Seconds(2));
  Cease(1, 1);  // one in two seconds
  ASSERT_TRUE(inbox_.Add(Make(5)).ok());

  EXPECT_EQ(delay(), absl::Seconds(8));
  clock_.Advance(absl::Seconds(8));
  Cease(0, 0);  // none in eight seconds: no more than one in eight, then
  EXPECT_EQ(delay(), absl::Seconds(32));
  clock_.Advance(absl::Hours(1));
  inbox_.Take();
  Cease(1, 1);
  ASSERT_TRUE(inbox_.Add(Make(6)).ok());
  EXPECT_EQ(delay(), absl::Minutes(1)) << "the most";
  EXPECT_EQ(RetryDelayOf(absl::ResourceExhaustedError("")), std::nullopt);
}

TEST_F(InboxTest, HandsOutCancellationsWhetherOrNotTheyNameARequest) {
  inbox_.Cancel(1);
  inbox_.Cancel(77);

  EXPECT_THAT(inbox_.Take().cancelled, ElementsAre(1, 77));
  EXPECT_THAT(inbox_.Take().cancelled, IsEmpty());
}

TEST_F(InboxTest, FailingEndsEverythingAndRefusesTheRestWithTheSameStatus) {
  const absl::Status lost = absl::UnavailableError("lost");
  EXPECT_EQ(inbox_.CheckOpen(), absl::OkStatus());
  inbox_.Close();

  inbox_.Fail(lost);

  inbox_.WaitForMail(absl::InfiniteFuture());  // it is mail
  EXPECT_EQ(inbox_.Take().end_all, lost);
  EXPECT_EQ(inbox_.Take().end_all, lost) << "what comes later ends with it, too";
  EXPECT_EQ(inbox_.Add(Make(2)), lost);
  inbox_.Close();
  EXPECT_EQ(inbox_.CheckOpen(), lost);
}

TEST_F(InboxTest, AnnouncesMailThatCameBeforeTheWait) {
  inbox_.Wake();

  inbox_.WaitForMail(absl::InfiniteFuture());  // returns
}

TEST_F(InboxTest, WakesTheWorkerAtItsDeadline) {
  const absl::Time deadline = clock_.Now() + absl::Hours(1);
  clock_.Advance(absl::Hours(1));

  inbox_.WaitForMail(deadline);  // returns
}

TEST_F(InboxTest, WaitsUntilWhatWasAddedIsDone) {
  for (RequestHandle handle = 1; handle <= 3; ++handle) ASSERT_TRUE(inbox_.Add(Make(handle)).ok());
  std::atomic<bool> all_done = false;
  std::thread waiter([&] {
    EXPECT_TRUE(inbox_.WaitUntilAllDone(absl::InfiniteFuture()));
    EXPECT_TRUE(all_done);
  });
  TakeArrivals();

  inbox_.Done({.requests = 2});
  all_done = true;
  inbox_.Done({.requests = 1});

  waiter.join();
  EXPECT_TRUE(inbox_.WaitUntilAllDone(absl::InfinitePast()));
}

TEST_F(InboxTest, GivesUpWaitingAtTheDeadline) {
  ASSERT_TRUE(inbox_.Add(Make(1)).ok());
  const absl::Time deadline = clock_.Now() + absl::Hours(1);
  std::thread waiter([&] { EXPECT_FALSE(inbox_.WaitUntilAllDone(deadline)); });

  clock_.Advance(absl::Hours(1));
  inbox_.Wake();

  waiter.join();
}

TEST_F(InboxTest, IsFinishedWhenShutDownAndEverythingIsDone) {
  ASSERT_TRUE(inbox_.Add(Make(1)).ok());
  inbox_.Shutdown();
  EXPECT_FALSE(inbox_.finished());

  TakeArrivals();
  inbox_.Done({.requests = 1});

  EXPECT_TRUE(inbox_.finished());
  inbox_.WaitForMail(absl::InfiniteFuture());  // returns
}

}  // namespace
}  // namespace peerage
