#include "server/door/idle_connections.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace peerage {
namespace {

using ::testing::ElementsAre;

class IdleConnectionsTest : public ::testing::Test {
 protected:
  std::unique_ptr<IdleConnections::Member> Come(const std::string& name) {
    return std::make_unique<IdleConnections::Member>(&all_, now_,
                                                     [this, name] { left_.push_back(name); });
  }

  void Pass(absl::Duration time) { now_ += time; }

  absl::Time now_ = absl::UnixEpoch();
  IdleConnections all_;
  std::vector<std::string> left_;  // in order
};

TEST_F(IdleConnectionsTest, WhoeverHasBeenIdleForLongestLeavesOnce) {
  const auto first = Come("first");
  Pass(absl::Seconds(1));
  const auto second = Come("second");
  Pass(absl::Seconds(1));
  EXPECT_TRUE(all_.MakeRoom(now_));
  EXPECT_TRUE(all_.MakeRoom(now_));
  EXPECT_FALSE(all_.MakeRoom(now_));
  EXPECT_THAT(left_, ElementsAre("first", "second"));
}

TEST_F(IdleConnectionsTest, WhoeverIsServedStays) {
  const auto served = Come("served");
  const auto idle = Come("idle");
  const auto gone = Come("gone");
  Pass(absl::Seconds(1));
  served->SetIdle(false, now_);
  std::make_unique<IdleConnections::Member>(&all_, absl::UnixEpoch(), [] { FAIL(); }).reset();
  EXPECT_TRUE(all_.MakeRoom(now_));
  EXPECT_TRUE(all_.MakeRoom(now_));
  EXPECT_FALSE(all_.MakeRoom(now_)) << "a call runs on the last one";
  EXPECT_EQ(left_.size(), 2u);

  served->SetIdle(true, now_);
  EXPECT_FALSE(all_.MakeRoom(now_)) << "its client may be about to call again";
  Pass(IdleConnections::kLeast);
  EXPECT_TRUE(all_.MakeRoom(now_));
  EXPECT_EQ(left_.back(), "served");
}

}  // namespace
}  // namespace peerage
