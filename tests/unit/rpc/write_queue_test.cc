#include "server/rpc/write_queue.h"

#include <gtest/gtest.h>

#include <string>

namespace peerage {
namespace {

using Queue = WriteQueue<std::string>;
using Action = Queue::Action;

TEST(WriteQueueTest, WritesOneMessageAtATimeInOrder) {
  Queue queue(8);
  EXPECT_EQ(queue.Push("a", 1), Action::kWrite);
  EXPECT_EQ(queue.Push("b", 1), Action::kNothing);
  EXPECT_EQ(queue.current(), "a");

  EXPECT_EQ(queue.WriteDone(true), Action::kWrite);
  EXPECT_EQ(queue.current(), "b");
  EXPECT_EQ(queue.WriteDone(true), Action::kNothing);
}

TEST(WriteQueueTest, KnowsWhetherAnotherMessageWaits) {
  Queue queue(8);
  EXPECT_EQ(queue.Push("a", 1), Action::kWrite);
  EXPECT_FALSE(queue.more_waits());
  EXPECT_EQ(queue.Push("b", 1), Action::kNothing);
  EXPECT_TRUE(queue.more_waits());

  EXPECT_EQ(queue.WriteDone(true), Action::kWrite);
  EXPECT_FALSE(queue.more_waits());
}

TEST(WriteQueueTest, FinishesOnceAndOnlyAfterTheLastWrite) {
  Queue queue(8);
  EXPECT_EQ(queue.Push("a", 1), Action::kWrite);
  EXPECT_EQ(queue.Close(absl::OkStatus()), Action::kNothing);
  EXPECT_EQ(queue.WriteDone(true), Action::kFinish);

  EXPECT_EQ(queue.Close(absl::CancelledError("late")), Action::kNothing);
  EXPECT_EQ(queue.Push("late", 1), Action::kNothing);
  EXPECT_TRUE(queue.status().ok());
}

TEST(WriteQueueTest, FinishesAtOnceWhenNothingWaits) {
  Queue queue(8);
  EXPECT_EQ(queue.Close(absl::InternalError("why")), Action::kFinish);
  EXPECT_EQ(queue.status().message(), "why");
}

TEST(WriteQueueTest, DropsEverythingAfterAFailedWrite) {
  Queue queue(8);
  EXPECT_EQ(queue.Push("a", 1), Action::kWrite);
  EXPECT_EQ(queue.Push("b", 1), Action::kNothing);
  EXPECT_EQ(queue.WriteDone(false), Action::kNothing);
  EXPECT_EQ(queue.Push("c", 1), Action::kNothing);
  EXPECT_EQ(queue.Close(absl::CancelledError("gone")), Action::kFinish);
}

TEST(WriteQueueTest, HasRoomBelowItsCapacityOnly) {
  Queue queue(3);
  EXPECT_EQ(queue.Push("ab", 2), Action::kWrite);
  EXPECT_TRUE(queue.HasRoom());
  EXPECT_EQ(queue.Push("c", 1), Action::kNothing);
  EXPECT_FALSE(queue.HasRoom());
}

TEST(WriteQueueTest, TellsOnceThatThereIsRoomAgainAfterItWasAskedInVain) {
  Queue queue(2);
  EXPECT_EQ(queue.Push("ab", 2), Action::kWrite);
  EXPECT_FALSE(queue.TakeRoomAgain()) << "nobody asked yet";
  EXPECT_FALSE(queue.HasRoom());
  EXPECT_FALSE(queue.TakeRoomAgain()) << "still full";

  EXPECT_EQ(queue.WriteDone(true), Action::kNothing);
  EXPECT_TRUE(queue.TakeRoomAgain());
  EXPECT_FALSE(queue.TakeRoomAgain());
}

}  // namespace
}  // namespace peerage
