#include "server/engine/request_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "server/engine/generation.h"
#include "tests/support/fake_clock.h"
#include "tests/support/recording_sink.h"

namespace peerage {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::unique_ptr<RunningRequest> Make(RequestHandle handle,
                                     const SchedulingParams& scheduling = {}) {
  return std::make_unique<Generation>(handle,
                                      GenerateRequest{.prompt = {1}, .scheduling = scheduling},
                                      std::make_shared<RecordingSink>(), ModelFacts());
}

class RequestQueueTest : public ::testing::Test {
 protected:
  std::vector<RequestHandle> TakeAll() {
    std::vector<RequestHandle> handles;
    const auto any = [](const RunningRequest&) { return true; };
    while (auto request = queue_.TakeFrontIf(any)) handles.push_back(request->handle());
    return handles;
  }

  FakeClock clock_;
  RequestQueue queue_{4, &clock_};
};

TEST_F(RequestQueueTest, HandsOutByPriorityThenBySubmission) {
  ASSERT_TRUE(queue_.Add(Make(1, {.priority = 5})).ok());
  ASSERT_TRUE(queue_.Add(Make(2)).ok());
  ASSERT_TRUE(queue_.Add(Make(3, {.priority = -1})).ok());
  ASSERT_TRUE(queue_.Add(Make(4)).ok());

  EXPECT_THAT(TakeAll(), ElementsAre(3, 2, 4, 1));
}

TEST_F(RequestQueueTest, HandsOutTasksUntilItIsShutDown) {
  int runs = 0;
  ASSERT_TRUE(queue_.RunOnWorker([&](absl::Time) { ++runs; }).ok());
  queue_.WaitForNews(absl::InfiniteFuture());  // a task is news
  queue_.Close();
  ASSERT_TRUE(queue_.RunOnWorker([&](absl::Time) { ++runs; }).ok()) << "it drains, but still works";
  queue_.Shutdown();
  EXPECT_EQ(queue_.RunOnWorker([&](absl::Time) { ++runs; }).code(), absl::StatusCode::kUnavailable);

  EXPECT_FALSE(queue_.finished()) << "two tasks wait";
  for (const WorkerTask& task : queue_.TakeNews(clock_.Now()).tasks) task(clock_.Now());
  EXPECT_EQ(runs, 2);
  EXPECT_TRUE(queue_.finished());
}

TEST_F(RequestQueueTest, KeepsAFrontThatIsNotWanted) {
  ASSERT_TRUE(queue_.Add(Make(1)).ok());
  ASSERT_TRUE(queue_.Add(Make(2)).ok());

  EXPECT_FALSE(queue_.TakeFrontIf([](const RunningRequest& r) { return r.handle() != 1; }));

  EXPECT_EQ(queue_.num_waiting(), 2);
}

TEST_F(RequestQueueTest, RefusesWhenFullAndWhenClosed) {
  for (RequestHandle handle = 1; handle <= 4; ++handle) ASSERT_TRUE(queue_.Add(Make(handle)).ok());

  EXPECT_EQ(queue_.Add(Make(5)).code(), absl::StatusCode::kResourceExhausted);
  queue_.Close();
  EXPECT_EQ(queue_.Add(Make(6)).code(), absl::StatusCode::kUnavailable);

  EXPECT_THAT(TakeAll(), ElementsAre(1, 2, 3, 4));
}

TEST_F(RequestQueueTest, EndsWhatIsCancelledOrLateWithoutStartingIt) {
  const absl::Time soon = clock_.Now() + absl::Seconds(1);
  ASSERT_TRUE(queue_.Add(Make(1)).ok());
  ASSERT_TRUE(queue_.Add(Make(2, {.queue_deadline = soon})).ok());
  ASSERT_TRUE(queue_.Add(Make(3, {.deadline = soon})).ok());
  ASSERT_TRUE(queue_.Add(Make(4)).ok());
  queue_.Cancel(1);
  queue_.Cancel(77);
  clock_.Advance(absl::Seconds(1));

  const QueueNews news = queue_.TakeNews(clock_.Now());

  ASSERT_EQ(news.ended.size(), 3u);
  EXPECT_EQ(news.ended[0].status.code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(news.ended[1].status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(news.ended[2].status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(news.cancelled, ElementsAre(77));
  EXPECT_THAT(TakeAll(), ElementsAre(4));
}

TEST_F(RequestQueueTest, FailingEndsWhatWaitsAndRefusesTheRestWithTheSameStatus) {
  const absl::Status lost = absl::UnavailableError("lost");
  ASSERT_TRUE(queue_.Add(Make(1)).ok());
  EXPECT_EQ(queue_.CheckOpen(), absl::OkStatus());
  queue_.Close();

  queue_.Fail(lost);

  queue_.WaitForNews(absl::InfiniteFuture());  // it is news
  const QueueNews news = queue_.TakeNews(clock_.Now());
  ASSERT_EQ(news.ended.size(), 1u);
  EXPECT_EQ(news.ended[0].status, lost);
  EXPECT_EQ(news.cancel_all, lost);
  EXPECT_EQ(queue_.Add(Make(2)), lost);
  queue_.Close();
  EXPECT_EQ(queue_.CheckOpen(), lost);
}

TEST_F(RequestQueueTest, CancelAllEndsWhatWaitsAndTellsTheWorker) {
  ASSERT_TRUE(queue_.Add(Make(1)).ok());
  queue_.Close();
  queue_.CancelAll(absl::UnavailableError("stopping"));

  const QueueNews news = queue_.TakeNews(clock_.Now());

  ASSERT_EQ(news.ended.size(), 1u);
  EXPECT_EQ(news.ended[0].status, absl::UnavailableError("stopping"));
  EXPECT_EQ(news.cancel_all, absl::UnavailableError("stopping"));
  EXPECT_THAT(TakeAll(), IsEmpty());
}

TEST_F(RequestQueueTest, AnnouncesNewsThatCameBeforeTheWait) {
  queue_.Wake();

  queue_.WaitForNews(absl::InfiniteFuture());  // returns
}

TEST_F(RequestQueueTest, WakesTheWorkerAtTheDeadlineOfAWaitingRequest) {
  ASSERT_TRUE(queue_.Add(Make(1, {.queue_deadline = clock_.Now() + absl::Hours(1)})).ok());
  queue_.TakeNews(clock_.Now());
  clock_.Advance(absl::Hours(1));

  queue_.WaitForNews(absl::InfiniteFuture());  // returns
}

TEST_F(RequestQueueTest, WaitsUntilWhatWasAddedIsDone) {
  ASSERT_TRUE(queue_.Add(Make(1)).ok());
  ASSERT_TRUE(queue_.Add(Make(2)).ok());
  std::atomic<bool> all_done = false;
  std::thread waiter([&] {
    EXPECT_TRUE(queue_.WaitUntilAllDone(absl::InfiniteFuture()));
    EXPECT_TRUE(all_done);
  });
  TakeAll();

  queue_.Done();
  all_done = true;
  queue_.Done();

  waiter.join();
  EXPECT_TRUE(queue_.WaitUntilAllDone(absl::InfinitePast()));
}

TEST_F(RequestQueueTest, GivesUpWaitingAtTheDeadline) {
  ASSERT_TRUE(queue_.Add(Make(1)).ok());
  const absl::Time deadline = clock_.Now() + absl::Hours(1);
  std::thread waiter([&] { EXPECT_FALSE(queue_.WaitUntilAllDone(deadline)); });

  clock_.Advance(absl::Hours(1));
  queue_.Wake();

  waiter.join();
}

TEST_F(RequestQueueTest, IsFinishedWhenShutDownAndEverythingIsDone) {
  ASSERT_TRUE(queue_.Add(Make(1)).ok());
  queue_.Shutdown();
  EXPECT_FALSE(queue_.finished());

  TakeAll();
  queue_.TakeNews(clock_.Now());
  queue_.Done();

  EXPECT_TRUE(queue_.finished());
  queue_.WaitForNews(absl::InfiniteFuture());  // returns
}

}  // namespace
}  // namespace peerage
