#include "base/ip_address.h"

#include <gtest/gtest.h>

namespace peerage {
namespace {

std::string Rewritten(absl::string_view text) {
  const std::optional<IpAddress> address = ParseIpAddress(text);
  return address ? address->ToString() : "none";
}

TEST(IpAddressTest, IsTheSameHoweverItIsWritten) {
  EXPECT_EQ(Rewritten("10.0.0.1"), "10.0.0.1");
  EXPECT_EQ(Rewritten("::ffff:10.0.0.1"), "10.0.0.1");
  EXPECT_EQ(Rewritten("2001:DB8:0:0::0001"), "2001:db8::1");
  EXPECT_EQ(Rewritten("::10.0.0.1"), "::10.0.0.1") << "which is none of IPv4";
  for (const char* wrong : {"", "10.0.0", "10.0.0.1:80", "[::1]", " ::1", "fe80::1%eth0", "peer"}) {
    EXPECT_EQ(Rewritten(wrong), "none") << wrong;
  }
  EXPECT_EQ(Rewritten(absl::string_view("::1\0x", 5)), "none");
}

TEST(IpAddressTest, IsReadFromTheNameOfAPeer) {
  for (const auto& [peer, expected] : {std::pair("ipv4:10.0.0.1:4711", "10.0.0.1"),
                                       std::pair("ipv6:[2001:db8::1]:4711", "2001:db8::1"),
                                       std::pair("ipv6:[::ffff:10.0.0.1]:1", "10.0.0.1")}) {
    const std::optional<IpAddress> address = IpAddressOfPeer(peer);
    ASSERT_TRUE(address) << peer;
    EXPECT_EQ(address->ToString(), expected);
  }
  for (const char* peer : {"", "unix:", "10.0.0.1:80", "ipv4:[10.0.0.1]:80",
                           "ipv4:", "ipv6:", "ipv6:[::1:80", "ipv6:::1:80", "vsock:1:2"}) {
    EXPECT_FALSE(IpAddressOfPeer(peer)) << peer;
  }
}

TEST(IpAddressTest, KnowsThisMachineByItself) {
  for (const char* host :
       {"127.0.0.1", "127.9.9.9", "::1", "0:0::1", "::ffff:127.0.0.1", "localhost", "LocalHost"}) {
    EXPECT_TRUE(IsLoopback(host)) << host;
  }
  for (const char* host :
       {"", "128.0.0.1", "12.7.0.1", "10.127.0.1", "0.0.0.0", "::", "::12", "::127.0.0.1",
        "::ffff:10.0.0.1", "127.example.com", "localhost.example", "[::1]", "127.1"}) {
    EXPECT_FALSE(IsLoopback(host)) << host;
  }
}

}  // namespace
}  // namespace peerage
