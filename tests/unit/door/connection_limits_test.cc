#include "server/door/connection_limits.h"

#include <gtest/gtest.h>

#include <optional>

#include "server/door/descriptor_limit.h"

namespace peerage {
namespace {

const absl::Time kNow = absl::UnixEpoch();

TEST(PeerOfTest, IsTheHostOrTheNetworkOfOneCustomer) {
  EXPECT_EQ(PeerOf("ipv4:10.0.0.1:4711"), "ipv4:10.0.0.1");
  EXPECT_EQ(PeerOf("ipv4:10.0.0.1:1"), PeerOf("ipv4:10.0.0.1:2"));
  EXPECT_NE(PeerOf("ipv4:10.0.0.1:1"), PeerOf("ipv4:10.0.0.2:1"));
  EXPECT_EQ(PeerOf("ipv6:[2001:db8::1]:1"), PeerOf("ipv6:[2001:db8::ffff:1]:2"));
  EXPECT_NE(PeerOf("ipv6:[2001:db8:0:1::1]:1"), PeerOf("ipv6:[2001:db8:0:2::1]:1"));
  EXPECT_EQ(PeerOf("ipv6:[::ffff:10.0.0.1]:1"), "ipv4:10.0.0.1");
  EXPECT_EQ(PeerOf("unix:"), "unix");
}

TEST(ConnectionLimitsTest, BoundsConnectionsOfAPeerAndInAll) {
  ConnectionLimits limits({.connections = 3, .peer_connections = 2}, kNow);
  EXPECT_EQ(limits.Begin("a"), std::nullopt);
  EXPECT_EQ(limits.Begin("a"), std::nullopt);
  EXPECT_EQ(limits.Begin("a"), Refusal::kPeerConnections);
  EXPECT_EQ(limits.Begin("b"), std::nullopt);
  EXPECT_EQ(limits.Begin("c"), Refusal::kConnections);
  limits.End("a");
  EXPECT_EQ(limits.Begin("c"), std::nullopt);
  EXPECT_EQ(limits.connections(), 3);
  limits.End("c");
  EXPECT_EQ(limits.Begin("a"), std::nullopt);
  EXPECT_EQ(limits.Begin("a"), Refusal::kConnections);
}

TEST(ConnectionLimitsTest, BoundsCallsOfAPeerAndInAll) {
  ConnectionLimits limits({.calls = 3, .peer_calls = 2}, kNow);
  EXPECT_TRUE(limits.BeginCall("a"));
  EXPECT_TRUE(limits.BeginCall("a"));
  EXPECT_FALSE(limits.BeginCall("a"));
  EXPECT_TRUE(limits.BeginCall("b"));
  EXPECT_FALSE(limits.BeginCall("b"));
  limits.EndCalls("a", 2);
  EXPECT_EQ(limits.calls(), 1);
  EXPECT_TRUE(limits.BeginCall("a"));
  limits.EndCalls("a", 1);
  limits.EndCalls("b", 1);
  EXPECT_EQ(limits.calls(), 0);
}

TEST(DescriptorLimitTest, LeavesRoomForTheRest) {
  EXPECT_EQ(ConnectionsFor(1024), (1024 - 500) / 3);
  EXPECT_EQ(ConnectionsFor(64), 1);
  EXPECT_GT(RaiseDescriptorLimit(), 0);
}

}  // namespace
}  // namespace peerage
