#include "server/door/connection_limits.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
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
  EXPECT_EQ(limits.Begin("a", kNow), std::nullopt);
  EXPECT_EQ(limits.Begin("a", kNow), std::nullopt);
  EXPECT_EQ(limits.Begin("a", kNow), Refusal::kPeerConnections);
  EXPECT_EQ(limits.Begin("b", kNow), std::nullopt);
  EXPECT_EQ(limits.Begin("c", kNow), Refusal::kConnections);
  limits.End("a");
  EXPECT_EQ(limits.Begin("c", kNow), std::nullopt);
  EXPECT_EQ(limits.connections(), 3);
  limits.End("c");
  EXPECT_EQ(limits.Begin("a", kNow), std::nullopt);
  EXPECT_EQ(limits.Begin("a", kNow), Refusal::kConnections);
}

TEST(ConnectionLimitsTest, AFewPeersLeaveRoomForOthers) {
  ConnectionLimits limits({.connections = 1024, .peer_connections = 256}, kNow);
  absl::Time now = kNow;
  for (int i = 0; i < 1024; ++i, now += absl::Seconds(1)) {
    for (const char* peer : {"a", "b", "c", "d"}) limits.Begin(peer, now);
  }
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(limits.Begin(absl::StrCat("other ", i), now), std::nullopt) << i;
  }
}

// Many hosts have all connections, and do nothing with them.
TEST(ConnectionLimitsTest, IdleOnesMakeRoomForHostsWithFewConnections) {
  ConnectionLimits limits({.connections = 10}, kNow);
  std::vector<std::unique_ptr<IdleConnections::Member>> members;
  int asked = 0;
  for (int i = 0; i < 10; ++i) {
    const std::string host = absl::StrCat("host ", i / 2);
    ASSERT_EQ(limits.Begin(host, kNow), std::nullopt);
    members.push_back(
        std::make_unique<IdleConnections::Member>(&limits.idle(), kNow, [&asked] { ++asked; }));
  }
  EXPECT_EQ(limits.Begin("other", kNow), Refusal::kConnections) << "those have just come";
  const absl::Time later = kNow + absl::Seconds(1);
  EXPECT_EQ(limits.Begin("host 0", later), Refusal::kConnections) << "it has two";
  EXPECT_EQ(asked, 0);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(limits.Begin(absl::StrCat("other ", i), later), std::nullopt);
  }
  EXPECT_EQ(asked, 5);
  EXPECT_EQ(limits.connections(), 15) << "those that were asked have not gone yet";
  EXPECT_EQ(limits.Begin("third", later), Refusal::kConnections) << "nobody waits for more";
  limits.End("host 0");
  EXPECT_EQ(limits.Begin("third", later), std::nullopt);
  EXPECT_EQ(asked, 6);
  limits.Stay();  // a call has begun
  EXPECT_EQ(limits.Begin("fourth", later), std::nullopt);
}

TEST(ConnectionLimitsTest, BoundsConnectionsInAShortTime) {
  ConnectionLimits limits({.new_peer_connections = {.at_once = 20, .per_second = 2}}, kNow);
  const auto come = [&limits](absl::Time now) {
    const std::optional<Refusal> refusal = limits.Begin("a", now);
    if (!refusal.has_value()) limits.End("a");
    return refusal;
  };
  for (int i = 0; i < 20; ++i) EXPECT_EQ(come(kNow), std::nullopt) << i;
  EXPECT_EQ(come(kNow), Refusal::kConnectionRate);
  EXPECT_EQ(limits.Begin("b", kNow), std::nullopt);
  const absl::Time later = kNow + absl::Seconds(1);
  EXPECT_EQ(come(later), std::nullopt);
  EXPECT_EQ(come(later), std::nullopt);
  EXPECT_EQ(come(later), Refusal::kConnectionRate);
}

TEST(ConnectionLimitsTest, WhoComesNowAndThenGetsInWhileOthersComeTooOften) {
  ConnectionLimits limits({.new_connections = {.at_once = 50, .per_second = 1},
                           .new_peer_connections = {.at_once = 20, .per_second = 1}},
                          kNow);
  for (int peer = 0; peer < 10; ++peer) {
    for (int i = 0; i < 20; ++i) limits.Begin(absl::StrCat(peer), kNow);
  }
  EXPECT_LT(limits.connections(), 150) << "but for the first ten of each";
  for (int i = 0; i < 10; ++i) EXPECT_EQ(limits.Begin("rare", kNow), std::nullopt) << i;
  EXPECT_EQ(limits.Begin("rare", kNow), Refusal::kConnectionRate);
}

TEST(ConnectionLimitsTest, BoundsCallsOfAPeerAndInAll) {
  ConnectionLimits limits({.calls = 3}, kNow);
  EXPECT_TRUE(limits.BeginCall("a"));
  EXPECT_TRUE(limits.BeginCall("a"));
  EXPECT_FALSE(limits.BeginCall("a")) << "it would leave less than it has";
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
  EXPECT_EQ(ConnectionsFor(256), 128 / 3);
  EXPECT_EQ(ConnectionsFor(4), 1);
  EXPECT_GT(RaiseDescriptorLimit(), 0);
}

}  // namespace
}  // namespace peerage
