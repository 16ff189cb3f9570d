#include "server/experts/background_lane.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "absl/synchronization/notification.h"
#include "tests/support/fake_clock.h"

namespace peerage {
namespace {

using ::testing::ElementsAre;

TEST(BackgroundLaneTest, RunsTasksInOrderAndAllBeforeItEnds) {
  FakeClock clock;
  std::vector<int> order;
  auto thread = std::make_unique<BackgroundLane>(&clock);
  BackgroundLane& side = *thread;
  side.Run([&] {
    order.push_back(1);
    side.Run([&] { order.push_back(3); });
  });
  side.Run([&] { order.push_back(2); });
  thread.reset();

  EXPECT_THAT(order, ::testing::UnorderedElementsAre(1, 2, 3));
  EXPECT_EQ(order[0], 1);
}

TEST(BackgroundLaneTest, RunsATaskAtItsTime) {
  FakeClock clock;
  BackgroundLane side(&clock);
  std::vector<int> order;
  absl::Notification done;
  side.RunAt(clock.Now() + absl::Seconds(2), [&] {
    order.push_back(2);
    done.Notify();
  });
  side.RunAt(clock.Now() + absl::Seconds(1), [&] { order.push_back(1); });
  absl::Notification early;
  side.Run([&] { early.Notify(); });
  early.WaitForNotification();
  EXPECT_FALSE(done.HasBeenNotified());

  clock.Advance(absl::Seconds(2));
  side.Wake();
  done.WaitForNotification();
  EXPECT_THAT(order, ElementsAre(1, 2));
}

TEST(BackgroundLaneTest, ForgetsATask) {
  FakeClock clock;
  BackgroundLane side(&clock);
  auto held = std::make_shared<int>();
  const std::weak_ptr<int> seen = held;
  bool ran = false;
  const auto timer =
      side.RunAt(clock.Now() + absl::Hours(1), [&ran, held = std::move(held)] { ran = true; });
  EXPECT_EQ(side.num_timers(), 1);
  side.Forget(timer);
  side.Forget(timer);
  EXPECT_TRUE(seen.expired());
  EXPECT_EQ(side.num_timers(), 0);

  absl::Notification later;
  side.RunAt(clock.Now() + absl::Hours(2), [&] { later.Notify(); });
  clock.Advance(absl::Hours(2));
  side.Wake();
  later.WaitForNotification();
  EXPECT_FALSE(ran);
}

TEST(BackgroundLaneTest, DropsWhatWaitsForItsTime) {
  FakeClock clock;
  const auto held = std::make_shared<int>();
  bool ran = false;
  {
    BackgroundLane side(&clock);
    side.RunAt(clock.Now() + absl::Hours(1), [&ran, held] { ran = true; });
  }
  EXPECT_FALSE(ran);
  EXPECT_EQ(held.use_count(), 1);
}

}  // namespace
}  // namespace peerage
